"""Train the two small networks that ship in pointcoc/models/weights/shipped, by the recipes of the examples.

    OMP_NUM_THREADS=1 python benchmarks/shipped_networks.py --data PATH --out pointcoc/models/weights/shipped
    OMP_NUM_THREADS=1 python benchmarks/shipped_networks.py --out pointcoc/models/weights/shipped  # clouds alone

PATH is an image folder of 32 x 32 pixels, such as a part of CIFAR-10. Writes `image/` (that data, settings of
`examples/imagenet.py --data PATH --size 32`) and `cloud/` (sampled solids, settings of `examples/modelnet40.py`), in
float16, and prints what each scores on the test set, which chooses nothing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from pointcoc import PRESETS, ContextClusterNet, NetworkConfig
from pointcoc.models import ImageTransform, WeightsInfo
from pointcoc.train import Loaders, evaluate, fit

sys.path.append(str(Path(__file__).resolve().parents[1] / "examples"))

import imagenet
import modelnet40

SOLIDS = "the ten solids of pointcoc.data.shapes"
AnySettings = imagenet.ImageSettings | modelnet40.CloudSettings
# The two networks stay below one megabyte together: a quarter of the parameters of coc_nano, and narrow MLPs.
IMAGE_CONFIG = PRESETS["coc_nano"].replace(dims=(32, 64, 128), head_dims=(8, 16, 24), depths=(1, 1, 2), mlp_ratios=2)
CLOUD_CONFIG = PRESETS["coc_points_small"].replace(mlp_ratios=1)


def main() -> None:
    """Train, measure and save the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="image folder with train/ and test/; clouds alone without it")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images; default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = Path(folder)
        solids = replace(modelnet40.SHAPES, val_fraction=0.0, out=runs / "cloud")
        loaders, info = modelnet40.cloud_loaders(solids)
        learn("cloud", CLOUD_CONFIG, info, loaders, solids, options.out / "cloud")
        if options.data is None:
            return
        settings = replace(
            imagenet.SMALL, data=options.data, epochs=options.epochs, val_fraction=0.0, out=runs / "image"
        )
        loaders, num_classes, _ = imagenet.folder_loaders(settings)
        info = WeightsInfo(class_names=range(num_classes), transform=ImageTransform(crop_pct=1.0, input_size=(32, 32)))
        learn("image", IMAGE_CONFIG, info, loaders, settings, options.out / "image")


def learn(
    name: str, config: NetworkConfig, info: WeightsInfo, loaders: Loaders, settings: AnySettings, out: Path
) -> None:
    """Train a network, print its test accuracy in float16's rounding, and save it."""
    torch.manual_seed(settings.seed)
    net, start = ContextClusterNet(config.replace(num_classes=len(info.class_names or ()))), time.perf_counter()
    fit(net, loaders.train, None, settings)
    seconds = time.perf_counter() - start
    net.half().float().eval()
    accuracy = evaluate(net, loaders.test)["accuracy"]
    source = (
        f"It learned {settings.data or f'{SOLIDS}, {settings.num_points:,} points each,'} in {settings.epochs} epochs."
    )
    net.weights_info = WeightsInfo(license="apache-2.0", source=source, transform=info.transform)
    net.half().save_pretrained(out)
    num_parameters = sum(parameter.numel() for parameter in net.parameters())
    print(f"{name}: {num_parameters:,} parameters, test accuracy {accuracy:.1%}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()

"""Question: how well do clusters follow objects, beside SLIC at the same number of segments?

Prints a Markdown table for a folder of images and one of masks with the same names (.png, a label a pixel)::

    OMP_NUM_THREADS=1 python benchmarks/superpixels.py IMAGES MASKS --ignore 11

How to read it: each row of a network averages over images and over the heads of the last block of a stage; the row of
SLIC below it (scikit-image, compactness 10) has as many segments as that stage has clusters with points, as near as
five tries come, image by image. "random" is the network before training, seed 0; "trained" is the one that ships with
the package, which never saw a mask. Clusters need not be connected; SLIC's segments are.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.segmentation import slic
from torch import Tensor

from pointcoc import ContextClusterNet
from pointcoc.viz import (
    SegmentQuality,
    Trace,
    cluster_segments,
    image_input,
    read_picture,
    segment_quality,
    shipped_network,
    trace,
)

COMPACTNESS = 10.0
TRIES = 5


def main() -> None:
    """Measure all images, print the table, then what it was measured with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of images")
    parser.add_argument("masks", type=Path, help="folder of masks NAME.png")
    parser.add_argument("--ignore", type=int, help="label whose pixels do not count")
    parser.add_argument("--limit", type=int, help="first images only")
    options = parser.parse_args()
    trained = shipped_network("image")
    torch.manual_seed(0)
    random = ContextClusterNet(trained.config).eval()
    random.weights_info = trained.weights_info
    rows: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    pairs = list(read_pairs(options.images, options.masks))[: options.limit]
    for picture, labels in pairs:
        for name, net in (("random", random), ("trained", trained)):
            (traced,) = trace(net, image_input(picture, net), picture)
            for s in range(len(traced.stages)):
                of_heads = measure_stage(traced, s, labels, options.ignore)
                rows.setdefault((name, s), []).append(tuple(np.mean([astuple(one) for one in of_heads], axis=0)))
                if name == "trained":
                    beside = measure_slic(picture, of_heads[0].num_segments, labels, options.ignore)
                    rows.setdefault(("SLIC", s), []).append(astuple(beside))
    print_table(rows)
    print(f"\n{len(pairs)} images; {platform.machine()}, torch {torch.__version__}")


def read_pairs(images: Path, masks: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield pictures (H, W, 3) at the size of their masks, and labels (H, W)."""
    for file in sorted(images.iterdir()):
        labels = torch.from_numpy(np.array(Image.open(masks / f"{file.stem}.png"))).long()
        picture = read_picture(file, max(labels.shape))
        if picture.shape[:2] != labels.shape:
            raise ValueError(f"{file} and its mask have other proportions: {picture.shape[:2]} and {labels.shape}")
        yield picture, labels


def measure_stage(traced: Trace, stage: int, labels: Tensor, ignore: int | None) -> list[SegmentQuality]:
    """Measure every head of the last block of a stage."""
    heads = range(traced.stages[stage].num_heads)
    return [segment_quality(cluster_segments(traced, stage, -1, head), labels, ignore) for head in heads]


def measure_slic(picture: Tensor, num_segments: int, labels: Tensor, ignore: int | None) -> SegmentQuality:
    """Measure SLIC with as near so many segments as it comes: it gives fewer than it is asked for."""
    ask, best = float(num_segments), None
    for _ in range(TRIES):
        segments = torch.from_numpy(slic(picture.numpy(), round(ask), COMPACTNESS, start_label=0))
        count = len(segments.unique())
        if best is None or abs(count - num_segments) < abs(len(best.unique()) - num_segments):
            best = segments
        if count == num_segments:
            break
        ask *= num_segments / count
    assert best is not None
    return segment_quality(best, labels, ignore)


def print_table(rows: dict[tuple[str, int], list[tuple[float, ...]]]) -> None:
    """Print the means of each stage, random, trained and SLIC below one another."""
    print("| stage | segments of | segments | achievable accuracy | boundary recall | under-segmentation error |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, stage in sorted(rows, key=lambda key: (key[1], ("random", "trained", "SLIC").index(key[0]))):
        accuracy, recall, leak, count = np.mean(rows[name, stage], axis=0)
        print(f"| {stage + 1} | {name} | {count:.1f} | {accuracy:.3f} | {recall:.3f} | {leak:.3f} |")


if __name__ == "__main__":
    main()

"""Train a network to name what each point of a scanned room belongs to, and measure it on rooms it has not seen.

    python examples/s3dis.py --data Stanford3dDataset_v1.2_Aligned_Version --cache rooms  # one GPU; tested on Area 5

`--data` holds Area_1 to Area_6, each with ROOM/Annotations/CLASS_NUMBER.txt, ROOM.npy (rows x y z r g b class),
ROOM/coord.npy (Pointcept) or a cloud with classes in any format that docs/segmentation.md lists; other scenes in meters
fit too, with `--classes` and `--labels`. Anchors are points of voxels and regions are runs along a Hilbert curve, so
that no step costs more than sorting, and a room of 1,000,000 points trains in the memory that
benchmarks/results/scene-memory.md tells. Training takes the points around a random one; rooms are measured whole, every
point. The last weights are measured: nothing is chosen on the test area. `--smoke` ends in seconds; `--resume auto`
continues a run that was interrupted; `--weights runs/s3dis --eval-only` measures alone.

What comes out on S3DIS has not been measured yet.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch_geometric.data import Data

from pointcoc.data import RandomScene, SceneFolder, collate_points, parse_labels
from pointcoc.data.scenes import WholeScene
from pointcoc.models import ContextClusterNet
from pointcoc.segmentation import point_segmentation
from pointcoc.segmentation.tasks import PointTask
from pointcoc.train import finish, fit, make_test_loader, make_train_loader, measure, run_command
from pointcoc.train.dense import DenseSettings, check_positive, start_from
from pointcoc.train.processes import say


@dataclass(frozen=True, kw_only=True)
class SceneSettings(DenseSettings):
    """Settings of a run on scenes."""

    data: Path
    """Folder that holds the areas."""
    train_areas: tuple[str, ...] = ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6")
    """Folders of the rooms to train on."""
    test_areas: tuple[str, ...] = ("Area_5",)
    """Folders of the rooms that the network is measured on."""
    classes: tuple[str, ...] = ()
    """Names of the classes; if they are not given, those that --labels names, or those of S3DIS."""
    labels: tuple[str, ...] = ()
    """Classes of the labels that the files store, such as 2=ground 5=tree 6=building, or of names of objects, such as
    Floor=floor."""
    ignore: tuple[str, ...] = ()
    """Stored labels that stand for no class, such as -1 255, and classes that count nowhere."""
    columns: tuple[str, ...] = ()
    """Names of the columns of text and arrays where the files do not tell them, such as x y z intensity label."""
    cache: Path | None = None
    """Folder that keeps parsed rooms, so that text is read once."""
    voxels: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    """Edges of the cells of the four stages, in meters."""
    max_points: int = 80_000
    """Points of a training view."""
    updates: int = 20_000
    """Updates of the run; 0 for `epochs`."""
    batch_size: int = 4
    """Views per update, over all processes and all parts of an update."""
    lr: float = 4e-3
    """Learning rate of the first update, or after the warm-up."""
    clip_grad: float = 1.0
    """Largest norm of the gradient of all parameters; 0 clips nothing."""
    out: Path = Path("runs/s3dis")
    """Folder of checkpoints and metrics."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "max_points")

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates of two small views."""
        return replace(super().shrink(), batch_size=2, max_points=2000) if self.smoke else self


def main(settings: SceneSettings) -> dict[str, float]:
    """Train, then measure on the rooms of the test areas, or measure alone."""
    torch.manual_seed(settings.seed)
    test = open_areas(settings, settings.test_areas)
    say_remarks(test)
    train = None
    if not settings.eval_only:
        train = open_areas(settings, settings.train_areas, RandomScene(settings.max_points))
        say_remarks(train, settings.max_bad)
        train.check_classes(settings.max_bad)
    loader = make_test_loader(test, settings, collate_fn=collate_points, batch_size=1)
    net = ContextClusterNet.from_preset("coc_scene", num_classes=0, in_channels=6, dense=True, voxels=settings.voxels)
    model = start_from(point_segmentation(net, num_classes=len(test.classes), dropout=0.0), settings)
    task = PointTask(len(test.classes), notes={"classes": test.classes})  # pointcoc predict reads them
    if train is None:
        return measure(model, loader, settings, task)
    say(f"{len(train)} training and {len(test)} test rooms")
    result = fit(model, make_train_loader(train, settings, collate_fn=collate_points), None, settings, task=task)
    return finish(model, loader, result, settings, task)


def open_areas(
    settings: SceneSettings, areas: tuple[str, ...], transform: Callable[[Data], Data] | None = None
) -> SceneFolder:
    """Open the rooms of some areas; whole rooms if there is no transform."""
    return SceneFolder(
        settings.data,
        areas,
        classes=settings.classes or None,
        labels=parse_labels(settings.labels) or None,
        ignore=[int(one) if one.removeprefix("-").isdigit() else one for one in settings.ignore],
        columns=settings.columns or None,
        cache=settings.cache,
        transform=transform or WholeScene(),
    )


def say_remarks(rooms: SceneFolder, max_bad: int = 0) -> None:
    """Read the classes of all rooms, and say what was left out, dropped or repaired."""
    empty = rooms.empty_classes(max_bad)
    for remark in rooms.remarks:
        say(remark)
    if empty:
        say(f"no room of {', '.join(rooms.areas)} has a point of {', '.join(empty)}")


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = SceneSettings(data=Path("Stanford3dDataset_v1.2_Aligned_Version"))

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)

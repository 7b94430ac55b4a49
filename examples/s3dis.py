"""Train a network to name what each point of a scene belongs to, and measure it on scenes it has not seen.

    python examples/s3dis.py --data Stanford3dDataset_v1.2_Aligned_Version --cache rooms  # one GPU; tested on Area 5

`--data` holds Area_1 to Area_6, each with ROOM/Annotations/CLASS_NUMBER.txt, ROOM.npy (rows x y z r g b class),
ROOM/coord.npy (Pointcept), or a cloud with classes in any format that docs/segmentation.md lists; other scenes fit too,
from the table to the forest, with `--classes` and `--labels`, whatever their units and offset. Of each point the
network reads its height above the ground, the shape of its neighborhood and what else `--features` names; voxels follow
the spacing of the points. Training takes the points around a random one; scenes are measured in overlapping views of
the same size, whose answers are joined, every point. Anchors are points of voxels and regions are runs along a Hilbert
curve, so that no step costs more than sorting. The last weights are measured: nothing is chosen on the test area.
`--smoke` ends in seconds; `--resume auto` continues a run that was interrupted; `--weights runs/s3dis --eval-only`
measures alone.

    python examples/s3dis.py --data PATH --train-areas Area_1 --test-areas Area_2 --classes ground tree \
        --features height shape --max-points 8192 --minutes 10  # scans of a forest, two threads of a CPU

What comes out on S3DIS has not been measured yet.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import torch
from torch.utils.data import DataLoader

from pointcoc.data import (
    DescribedScenes,
    RandomScene,
    SceneFolder,
    SceneInput,
    SceneSurvey,
    auto_voxels,
    collate_points,
    parse_labels,
    survey_scenes,
)
from pointcoc.models import CloudTransform, ContextClusterNet
from pointcoc.models.weights import find_weights, read_info
from pointcoc.segmentation import PointSegmenter, class_weights, point_segmentation
from pointcoc.segmentation.scene_task import SceneTask, collate_scenes
from pointcoc.train import finish, fit, make_test_loader, make_train_loader, measure, run_command
from pointcoc.train.dense import DenseSettings, check_positive, start_from
from pointcoc.train.processes import say


@dataclass(frozen=True, kw_only=True)
class SceneSettings(DenseSettings):
    """Settings of a run on scenes."""

    data: Path
    """Folder that holds the areas."""
    train_areas: tuple[str, ...] = ("Area_1", "Area_2", "Area_3", "Area_4", "Area_6")
    """Folders of the scenes to train on."""
    test_areas: tuple[str, ...] = ("Area_5",)
    """Folders of the scenes that the network is measured on."""
    classes: tuple[str, ...] = ()
    """Names of the classes; if they are not given, those that --labels names, or those of S3DIS."""
    labels: tuple[str, ...] = ()
    """Classes of the labels that the files store, such as 2=ground 5=tree 6=building, or of names of objects, such as
    Floor=floor."""
    ignore: tuple[str, ...] = ()
    """Stored labels that stand for no class, such as -1 255, and classes that count nowhere."""
    columns: tuple[str, ...] = ()
    """Names of the columns of text and arrays where the files do not tell them, such as x y z intensity label."""
    decimal: str = "."
    """Decimal mark of text."""
    segment: str = "segment"
    """Name of the array of labels in folders of arrays, such as segment20 for ScanNet."""
    class_weights: tuple[str, ...] = ("none",)
    """Weights of the classes in the loss: none, inverse (of their share of the training points), sqrt (its square
    root), or a number for each class."""
    cache: Path | None = None
    """Folder that keeps parsed scenes and computed features, so that each is read and computed once. Without it
    features are kept in memory, 52 bytes a point in each process that loads data."""
    features: tuple[str, ...] = ("height", "shape", "color")
    """What the network reads of each point: position (in its view), height, shape, color, normal, intensity,
    return_number."""
    up: Literal["x", "y", "z"] = "z"
    """The up axis."""
    voxels: Literal["auto"] | tuple[float, ...] = "auto"
    """Edges of the cells of the four stages, in units of the data; auto for 2.5, 5, 10 and 20 times the median distance
    of neighbors: 0.05 to 0.4 m for points 2 cm apart."""
    ground_radius: float | None = None
    """Radius in which the ground is looked for, and a quarter and four times it; 40 times the distance of neighbors if
    it is not given."""
    num_neighbors: int = 16
    """Neighbors that tell the shape, and four times as many."""
    max_points: int = 80_000
    """Points of a view, in training and in the test."""
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
        check_positive(self, "max_points", "num_neighbors")
        self.transform(1.0)  # checks the rest

    def shrink(self) -> Self:
        """The same settings, reduced to a run of seconds if `smoke` is set: two updates of two small views."""
        return replace(super().shrink(), batch_size=2, max_points=2000) if self.smoke else self

    def transform(self, spacing: float) -> CloudTransform:
        """Return how scenes become the input of the network, as it is noted with the weights."""
        return CloudTransform(
            up=self.up,
            features=self.features,
            spacing=spacing,
            view_points=self.max_points,
            ground_radius=self.ground_radius,
            num_neighbors=self.num_neighbors,
        )


def main(settings: SceneSettings) -> dict[str, float]:
    """Train, then measure on the scenes of the test areas, or measure alone."""
    torch.manual_seed(settings.seed)
    test = open_areas(settings, settings.test_areas)
    say_remarks(test)
    transform = noted_transform(settings)
    if settings.eval_only and transform is not None:
        return measure(*tested(settings, SceneInput(transform), test))
    scenes = open_areas(settings, settings.train_areas)
    say_remarks(scenes, settings.max_bad)
    counts = scenes.check_classes(settings.max_bad)
    survey = survey_scenes(scenes, settings.max_bad)
    inputs = SceneInput(transform or settings.transform(survey.spacing))
    model, loader, _, task = tested(settings, inputs, test)
    if settings.eval_only:
        return measure(model, loader, settings, task)
    task.class_weights = class_weights(settings.class_weights, counts)
    train = train_views(settings, scenes, inputs, survey)
    say(
        f"{len(scenes)} training scenes with {sum(survey.sizes):,} points {inputs.spacing:.3g} apart, "
        f"{len(train)} views of up to {inputs.view_points:,} points an epoch"
    )
    if settings.minutes:
        train.compute()  # before the clock runs
    result = fit(model, make_train_loader(train, settings, collate_fn=collate_points), None, settings, task=task)
    return finish(model, loader, result, settings, task)


def tested(
    settings: SceneSettings, inputs: SceneInput, test: SceneFolder
) -> tuple[PointSegmenter, DataLoader, SceneSettings, SceneTask]:
    """Return what a measure takes: the model, the test scenes, the settings and the task."""
    model = start_from(build(settings, inputs, len(test.classes)), settings)
    model.weights_info = replace(model.weights_info, transform=inputs.transform)  # pointcoc predict reads it
    scenes = DescribedScenes(test, inputs, cache=settings.cache)
    loader = make_test_loader(scenes, settings, collate_fn=collate_scenes, batch_size=1)
    notes = {"classes": test.classes, "labels": settings.labels, "ignore": settings.ignore, "codes": test.codes}
    return model, loader, settings, SceneTask(len(test.classes), inputs, notes)


def build(settings: SceneSettings, inputs: SceneInput, num_classes: int) -> PointSegmenter:
    """Make the network of some settings."""
    voxels = auto_voxels(inputs.spacing) if settings.voxels == "auto" else settings.voxels
    channels = inputs.transform.num_features
    net = ContextClusterNet.from_preset("coc_scene", num_classes=0, in_channels=channels, dense=True, voxels=voxels)
    return point_segmentation(net, num_classes=num_classes, dropout=0.0)


def noted_transform(settings: SceneSettings) -> CloudTransform | None:
    """Return the transform that is noted with --weights, which replaces the settings; None if there is none."""
    transform = None if settings.weights is None else read_info(find_weights(settings.weights))[1].transform
    if not isinstance(transform, CloudTransform) or transform.view_points is None:
        return None
    say(f"as noted with the weights: {transform}")
    return transform


def open_areas(settings: SceneSettings, areas: tuple[str, ...]) -> SceneFolder:
    """Open the scenes of some areas."""
    return SceneFolder(
        settings.data,
        areas,
        classes=settings.classes or None,
        labels=parse_labels(settings.labels) or None,
        ignore=[int(one) if one.removeprefix("-").isdigit() else one for one in settings.ignore],
        columns=settings.columns or None,
        decimal=settings.decimal,
        segment=settings.segment,
        cache=settings.cache,
    )


def say_remarks(scenes: SceneFolder, max_bad: int = 0) -> None:
    """Read the classes of all scenes, and say what was left out, dropped or repaired."""
    empty = scenes.empty_classes(max_bad)
    for remark in scenes.remarks:
        say(remark)
    if empty:
        say(f"no scene of {', '.join(scenes.areas)} has a point of {', '.join(empty)}")


def train_views(
    settings: SceneSettings, scenes: SceneFolder, inputs: SceneInput, survey: SceneSurvey
) -> DescribedScenes:
    """Return random views of the training scenes, as many of each as its points fill."""
    visits = survey.visits(inputs.view_points)
    visits *= -(-settings.batch_size // len(visits))  # an epoch has an update at least
    return DescribedScenes(scenes, inputs, cache=settings.cache, transform=RandomScene(inputs), visits=visits)


# The path below is a part of the command line that names --data, which replaces it.
DEFAULT = SceneSettings(data=Path("Stanford3dDataset_v1.2_Aligned_Version"))

if __name__ == "__main__":
    run_command(main, DEFAULT, __doc__)

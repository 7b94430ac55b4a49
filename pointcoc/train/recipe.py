"""What the recipes share: the network and what it starts from, measuring alone, and several seeds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader

from pointcoc.checks import check_range
from pointcoc.files import atomic
from pointcoc.models.config import NetworkConfig
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.presets import preset
from pointcoc.models.transfer import copy_stages, open_network, with_stages_of
from pointcoc.models.weights.info import listing
from pointcoc.train.findings import Findings
from pointcoc.train.labels import balanced_weights, num_classes_of
from pointcoc.train.loaders import Sampling, training_labels
from pointcoc.train.loop import evaluate
from pointcoc.train.processes import is_main_process, say
from pointcoc.train.settings import Settings
from pointcoc.train.task import Classification, Task

SEEDS = "seeds.json"
SAID = {
    "accuracy": "accuracy", "mean_class_accuracy": "mean over classes", "mean_ap": "mean average precision", "f1": "F1",
}  # fmt: skip
"""Scores whose mean over seeds is reported, and how they are called."""
SPLIT = "split.json"
"""File of a run that lists the files that were trained and measured on, where the data has no split of its own."""


@dataclass(frozen=True, kw_only=True)
class Measured(Settings):
    """Settings of a recipe that can measure weights: the base of `RecipeSettings` and `DenseSettings`.

    Raises:
        ValueError: if a value is outside its range or two contradict each other.
    """

    weights: str | None = None
    """Weights of the same kind of model to start from or to measure, as `pointcoc.load` takes them; the folder of a
    run, for example, or one that save_pretrained wrote."""
    eval_only: bool = False
    """Measure --weights; nothing is trained or written."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.eval_only and self.weights is None:
            raise ValueError("eval_only needs weights to measure")


@dataclass(frozen=True, kw_only=True)
class RecipeSettings(Measured):
    """Settings of a recipe around `fit`: which network, what it starts from, how many runs.

    Raises:
        ValueError: if a value is outside its range or two contradict each other.
    """

    preset: str | None = "coc_tiny"
    """Preset of the network; None where --weights are given, which tell their network."""
    init_from: str | None = None
    """Weights, as for --weights, of a network for images or for clouds. Its stages are copied and give this network
    their sizes; the first reducer and the classifier are new."""
    seeds: int = 1
    """Number of runs. With more than one, each has a seed of its own, from --seed on, and a folder of its own in
    --out; their mean and standard deviation are the last line."""
    drop_path: float = 0.0
    """Probability to skip the last block while training; it rises linearly from 0."""
    class_weights: Literal["none", "balanced"] = "none"
    """Weights of the classes in the loss of training, none, or balanced, so that all classes count alike, whatever
    their numbers of items."""
    sampling: Sampling = "plain"
    """Which items an epoch has, each once (plain), or as many that are drawn so that all classes are equally frequent
    (balanced)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("seeds", self.seeds, 1)
        if (self.preset is None) == (self.weights is None):
            raise ValueError(
                f"give preset, for a new network, or weights, which tell theirs, and not both: got preset "
                f"{self.preset!r} and weights {self.weights!r}"
            )
        if self.weights is not None and self.init_from is not None:
            raise ValueError("weights are all of a network and init_from its stages: give one of the two")
        if self.eval_only and self.seeds > 1:
            raise ValueError(f"seeds must be 1 for eval_only, which draws nothing, got {self.seeds}")
        if self.class_weights != "none" and self.sampling != "plain":
            raise ValueError("class_weights and sampling must not both be balanced: rare classes would count twice")


S = TypeVar("S", bound=RecipeSettings)
Scores = dict[str, float]


def make_network(
    settings: RecipeSettings, num_classes: int, class_names: Sequence[str] | None = None, **fields: Any
) -> ContextClusterNet:
    """Make the network of a recipe, and say what was copied into it.

    Weights with a classifier for the classes of the data, by their names, keep it: its rows are put into the order of
    the data, and those of other classes are left out. Otherwise the classifier is new, and a line says so.

    Args:
        settings: `preset`, `weights`, `init_from`, `eval_only` and `drop_path` are read.
        num_classes: classes of the data.
        class_names: their names, which are noted with the weights; None where the data tells none.
        **fields: what the data and other settings ask of the configuration, such as in_channels and pos_dim; weights
            must have it.

    Raises:
        ValueError: if the weights do not fit; to measure, also if they do not know a class of the data.
        FileNotFoundError: if there are none.
    """
    if settings.weights is not None:
        net = _opened(settings, num_classes, class_names, fields)
    else:
        config = preset(str(settings.preset), num_classes=num_classes, drop_path=settings.drop_path, **fields)
        net = ContextClusterNet(config) if settings.init_from is None else _started(settings.init_from, config)
    if class_names is not None and not settings.eval_only:
        net.weights_info = replace(net.weights_info, class_names=dict(enumerate(class_names)))
    return net


def measure(net: nn.Module, loader: DataLoader, settings: Measured, task: Task | None = None) -> Scores:
    """Measure weights on the test set and print one line.

    Args:
        net: the network.
        loader: the test set.
        settings: `weights` and `precision` are read.
        task: what is measured; classification if it is not given.

    Returns:
        The scores of `evaluate`.
    """
    task = Classification(num_classes_of(net)) if task is None else task
    scores = evaluate(net, loader, settings.precision, task, Findings())
    say(f"test {task.line(scores)}, weights {settings.weights}")
    return scores


def classification(net: nn.Module, settings: RecipeSettings, loader: DataLoader) -> Classification:
    """Make the task of a recipe that gives each item one class.

    Args:
        net: the network.
        settings: `class_weights`, `mixup`, `cutmix` and `label_smoothing` are read.
        loader: that of the training part, whose classes are counted for balanced weights.
    """
    task = Classification.of(net, settings)
    if settings.class_weights == "balanced":
        task.class_weights = balanced_weights(training_labels(loader), task.num_classes)
    return task


def write_made_split(out: Path, dataset: Any) -> None:
    """Write the names of the files that were trained and measured on, where a folder without a split was split here.

    Args:
        out: folder of the run.
        dataset: data set of one of the parts, or a subset of it; it has `made_split` if it was split here.
    """
    made = getattr(getattr(dataset, "dataset", dataset), "made_split", None)
    if made is not None and is_main_process():
        with atomic(out / SPLIT) as temporary:
            temporary.write_text(json.dumps(made, indent=1) + "\n")


def over_seeds(main: Callable[[S], Scores], settings: S) -> list[Scores]:
    """Run a recipe once for each seed; with several, print mean and standard deviation and write seeds.json.

    Args:
        main: the recipe; trains, reads the test set once, and returns its scores.
        settings: `seeds` runs with seeds from `seed` on; several of them go to seed-0, seed-1, ... in `out`.

    Returns:
        The scores of each run.
    """
    if settings.seeds == 1:
        return [main(settings)]
    seeds = range(settings.seed, settings.seed + settings.seeds)
    runs = [main(replace(settings, seed=seed, seeds=1, out=settings.out / f"seed-{seed}")) for seed in seeds]
    scores = {name: [run[name] for run in runs] for name in SAID if name in runs[0]}
    summary = {name: (fmean(values), stdev(values)) for name, values in scores.items()}
    if is_main_process():
        with atomic(settings.out / SEEDS) as temporary:
            content = {"mean_and_deviation": summary, "seeds": dict(zip(map(str, seeds), runs, strict=True))}
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    (first, (mean, deviation)), (second, (other_mean, other_deviation)) = summary.items()
    say(
        f"{settings.seeds} seeds: test {SAID[first]} {100 * mean:.2f} ± {100 * deviation:.2f} % ({SAID[second]} "
        f"{100 * other_mean:.2f} ± {100 * other_deviation:.2f} %), mean and standard deviation"
    )
    return runs


def _started(weights: str, config: NetworkConfig) -> ContextClusterNet:
    """Make a network with the stages of another one."""
    source = open_network(weights)
    net = ContextClusterNet(with_stages_of(config, source.config))
    say(f"{weights}: {copy_stages(net, source)}")
    return net


def _opened(
    settings: RecipeSettings, num_classes: int, class_names: Sequence[str] | None, fields: dict[str, Any]
) -> ContextClusterNet:
    net = open_network(str(settings.weights), drop_path=settings.drop_path)
    for name, value in fields.items():
        if getattr(net.config, name) != value:
            raise ValueError(
                f"{settings.weights} have {name} {getattr(net.config, name)!r}, and the data or the settings ask for "
                f"{value!r}; init_from copies the stages alone"
            )
    if settings.eval_only:
        _check_measured(net, settings, num_classes, class_names)
    else:
        _fit_classifier(net, str(settings.weights), num_classes, class_names)
    return net.to(torch.float32)


def _check_measured(
    net: ContextClusterNet, settings: RecipeSettings, num_classes: int, class_names: Sequence[str] | None
) -> None:
    """Raise unless the weights know the classes of the data."""
    if class_names is not None and net.weights_info.class_names is not None:
        net.weights_info.match_classes(class_names, "the data")
    elif net.config.num_classes != num_classes:
        raise ValueError(f"{settings.weights} tell {net.config.num_classes} classes, the data hold {num_classes}")


def _fit_classifier(net: ContextClusterNet, weights: str, num_classes: int, class_names: Sequence[str] | None) -> None:
    """Give weights that are trained further a classifier for the classes of the data."""
    known = net.weights_info.class_names
    if class_names is None or known is None:
        if net.config.num_classes != num_classes:
            say(f"{weights}: a new classifier, for {num_classes} classes instead of {net.config.num_classes}")
            net.reset_classifier(num_classes)
        return
    numbers = {name: number for number, name in known.items()}
    if not set(class_names) <= set(numbers):
        unknown = sorted(set(class_names) - set(numbers))
        say(f"{weights}: a new classifier, for other classes: the weights do not know {listing(unknown)}")
        net.reset_classifier(num_classes)
    elif (rows := [numbers[name] for name in class_names]) != list(range(net.config.num_classes)):
        say(f"{weights}: the classifier is put into the order of the {num_classes} classes of the data")
        old = net.head
        net.reset_classifier(num_classes)
        with torch.no_grad():
            for new, parameter in zip(net.head.parameters(), old.parameters(), strict=True):
                new.copy_(parameter[rows])

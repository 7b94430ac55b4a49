"""What the recipes share: the network and what it starts from, measuring alone, and several seeds."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean, stdev
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader

from pointcoc.checks import check_range
from pointcoc.files import atomic
from pointcoc.models.network import ContextClusterNet
from pointcoc.models.presets import preset
from pointcoc.models.transfer import copy_stages, open_network, with_stages_of
from pointcoc.train.findings import Findings
from pointcoc.train.labels import num_classes_of
from pointcoc.train.loop import evaluate
from pointcoc.train.processes import is_main_process, say
from pointcoc.train.settings import Settings
from pointcoc.train.task import Classification, Task

SEEDS = "seeds.json"


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


S = TypeVar("S", bound=RecipeSettings)
Scores = dict[str, float]


def make_network(settings: RecipeSettings, num_classes: int, **fields: Any) -> ContextClusterNet:
    """Make the network of a recipe, and say what was copied into it.

    Args:
        settings: `preset`, `weights`, `init_from`, `eval_only` and `drop_path` are read.
        num_classes: classes of the data; weights for another number get a new classifier.
        **fields: what the data and other settings ask of the configuration, such as in_channels and pos_dim; weights
            must have it.

    Raises:
        ValueError: if the weights do not fit.
        FileNotFoundError: if there are none.
    """
    if settings.weights is not None:
        return _opened(settings, num_classes, fields)
    config = preset(str(settings.preset), num_classes=num_classes, drop_path=settings.drop_path, **fields)
    if settings.init_from is None:
        return ContextClusterNet(config)
    source = open_network(settings.init_from)
    net = ContextClusterNet(with_stages_of(config, source.config))
    say(f"{settings.init_from}: {copy_stages(net, source)}")
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
    scores = {name: [run[name] for run in runs] for name in ("accuracy", "mean_class_accuracy")}
    summary = {name: (fmean(values), stdev(values)) for name, values in scores.items()}
    if is_main_process():
        with atomic(settings.out / SEEDS) as temporary:
            content = {"mean_and_deviation": summary, "seeds": dict(zip(map(str, seeds), runs, strict=True))}
            temporary.write_text(json.dumps(content, indent=2) + "\n")
    (mean, deviation), (class_mean, class_deviation) = summary.values()
    say(
        f"{settings.seeds} seeds: test accuracy {100 * mean:.2f} ± {100 * deviation:.2f} % (mean over classes "
        f"{100 * class_mean:.2f} ± {100 * class_deviation:.2f} %), mean and standard deviation"
    )
    return runs


def _opened(settings: RecipeSettings, num_classes: int, fields: dict[str, Any]) -> ContextClusterNet:
    net = open_network(str(settings.weights), drop_path=settings.drop_path)
    for name, value in fields.items():
        if getattr(net.config, name) != value:
            raise ValueError(
                f"{settings.weights} have {name} {getattr(net.config, name)!r}, and the data or the settings ask for "
                f"{value!r}; init_from copies the stages alone"
            )
    if net.config.num_classes != num_classes:
        if settings.eval_only:
            raise ValueError(f"{settings.weights} tell {net.config.num_classes} classes, the data hold {num_classes}")
        say(f"{settings.weights}: a new classifier, for {num_classes} classes instead of {net.config.num_classes}")
        net.reset_classifier(num_classes)
    return net.to(torch.float32)

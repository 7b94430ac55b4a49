"""Training: settings, loaders, the loop, checkpoints and metrics. Needs the extra `train`."""

from pointcoc.train.checkpoint import load_weights, save_weights
from pointcoc.train.command import run_command
from pointcoc.train.labels import check_labels
from pointcoc.train.loaders import Loaders, make_loaders, make_stream_loader, make_test_loader, make_train_loader
from pointcoc.train.loop import FitResult, evaluate, finish, fit, report_test
from pointcoc.train.metrics import PassScores, Scores
from pointcoc.train.multi_label import MultiLabel
from pointcoc.train.recipe import (
    Measured,
    RecipeSettings,
    classification,
    make_network,
    measure,
    over_seeds,
    write_made_split,
)
from pointcoc.train.settings import Settings
from pointcoc.train.stopping import Stopped
from pointcoc.train.task import Classification, Task

__all__ = [
    "Classification",
    "FitResult",
    "Loaders",
    "Measured",
    "MultiLabel",
    "PassScores",
    "RecipeSettings",
    "Scores",
    "Settings",
    "Stopped",
    "Task",
    "check_labels",
    "classification",
    "evaluate",
    "finish",
    "fit",
    "load_weights",
    "make_loaders",
    "make_network",
    "make_stream_loader",
    "make_test_loader",
    "make_train_loader",
    "measure",
    "over_seeds",
    "report_test",
    "run_command",
    "save_weights",
    "write_made_split",
]

"""Names of trackers (TensorBoard, wandb, ...): which there are, which a run uses, which package is missing."""

from collections.abc import Sequence

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from accelerate.utils import LoggerType

from pointcoc.checks import check_choice

AUTO, NONE = "auto", "none"
TENSORBOARD = "tensorboard"
PACKAGES = {"comet_ml": "comet-ml"}  # the other packages have the name of their tracker


def check_trackers(names: Sequence[str]) -> None:
    """Check the setting `trackers`.

    Args:
        names: "auto", "none", or trackers that accelerate knows, those of `register_tracker_class` included.

    Raises:
        ValueError: if a name is unknown, comes twice, or "auto" or "none" does not stand alone; the message holds the
            choices.
    """
    for name in names:
        check_choice("tracker", name, [AUTO, NONE, *sorted(LOGGER_TYPE_TO_CLASS)])
    if not names or len(set(names)) < len(names) or (len(names) > 1 and {AUTO, NONE} & set(names)):
        raise ValueError(f"trackers must be auto, none, or different names, got {' '.join(names) or 'nothing'}")


def trackers_of(names: Sequence[str]) -> list[str]:
    """Return the trackers that a run uses: for "auto" TensorBoard where it is installed, for "none" none.

    Args:
        names: the setting `trackers`.

    Raises:
        ImportError: if the package of one is missing; the message says how to install it.
    """
    missing = set(LoggerType.list()) - {str(name) for name in get_available_trackers()}
    if AUTO in names:
        return [] if TENSORBOARD in missing else [TENSORBOARD]
    used = [name for name in names if name != NONE]
    for name in used:
        if name in missing:
            package = PACKAGES.get(name, name)
            raise ImportError(f"trackers has {name}, which needs the package {package}: pip install {package}")
    return used

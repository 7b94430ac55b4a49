"""The networks that look at inputs: small ones that ship with the package, or those of a folder."""

from pathlib import Path

from pointcoc.checks import check_choice
from pointcoc.models import ContextClusterNet, open_network
from pointcoc.models.weights import SHIPPED
from pointcoc.viz.inputs import is_cloud_file


def shipped_network(kind: str) -> ContextClusterNet:
    """Load the small network that ships with the package, in float32 and evaluation mode.

    They are made to look at clusters, not to classify; `weights_info.source` says what they learned.

    Args:
        kind: "image" or "cloud".

    Raises:
        ValueError: if the kind is unknown.
    """
    check_choice("kind", kind, tuple(SHIPPED))
    return ContextClusterNet.from_pretrained(SHIPPED[kind].parent).float()


class Networks:
    """The network for each file: that of a folder or of the hub, or without one the shipped network of its kind.

    Args:
        weights: what `pointcoc.load` takes; None for the shipped.
    """

    def __init__(self, weights: str | Path | None = None):
        self.weights = weights
        self._given = None if weights is None else open_network(weights).float()
        self._shipped: dict[str, ContextClusterNet] = {}

    def of(self, path: str | Path) -> ContextClusterNet:
        """Return the network for a file."""
        if self._given is not None:
            return self._given
        kind = "cloud" if is_cloud_file(path) else "image"
        if kind not in self._shipped:
            self._shipped[kind] = shipped_network(kind)
        return self._shipped[kind]

    def describe(self, path: str | Path) -> str:
        """Say in a sentence which network looks at a file."""
        if self._given is not None:
            source = self._given.weights_info.source
            return f"Network: {self.weights}" + (f" ({source})." if source else ".")
        return f"No weights were given: a small network that ships with pointcoc. {self.of(path).weights_info.source}"

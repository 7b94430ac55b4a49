"""The geometry of a stage that keeps every site, with regions and centers by cells."""

from __future__ import annotations

from pointcoc.geometry import StageGeometry


def stage(regions: int, centers: int) -> StageGeometry:
    return StageGeometry(
        anchors="lattice",
        stride=1,
        neighbors=1,
        regions=regions,
        window=None,
        proposals="cells",
        centers=centers,
        center_neighbors=8,
    )

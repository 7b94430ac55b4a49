"""Segmentations of COCO, checked: polygons, and run lengths in both of their forms."""

from __future__ import annotations

import math
from typing import Any

from pointcoc.checks import import_extra


def mask_of(segmentation: Any, size: tuple[int, int]) -> Any:
    """Return a segmentation that pycocotools reads rightly.

    Args:
        segmentation: polygons, one polygon as a flat list of numbers, or run lengths (RLE), as lists or compressed.
        size: height and width of the image.

    Returns:
        The polygons that have three points or more, None if none has, or run lengths in their compressed form. Lists of
        four numbers, which pycocotools would take for boxes, are no polygons.

    Raises:
        ValueError: if it is none of these, a coordinate is not finite, or run lengths do not fill the image; the
            message goes on after the name of the annotation.
    """
    if isinstance(segmentation, dict):
        return _checked_runs(segmentation, size)
    if not isinstance(segmentation, list):
        raise ValueError(f"must have polygons or run lengths as segmentation, got {type(segmentation).__name__}")
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    for polygon in polygons:
        _check_polygon(polygon)
    return [polygon for polygon in polygons if len(polygon) >= 6] or None


def _check_polygon(polygon: Any) -> None:
    try:
        is_finite = math.isfinite(sum(polygon))
    except TypeError as error:
        raise ValueError(f"must have polygons of numbers, got {str(polygon)[:60]}") from error
    if not is_finite:
        raise ValueError("must have polygons of finite numbers, got NaN or infinity")
    if len(polygon) % 2:
        raise ValueError(f"must have polygons of pairs x, y, got {len(polygon)} numbers")


def _checked_runs(segmentation: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    stated, counts = segmentation.get("size"), segmentation.get("counts")
    if list(stated or ()) != list(size):
        raise ValueError(f"must have a mask of the size of its image, {size} (height, width), got {stated}")
    if isinstance(counts, (str, bytes)):
        text = counts.encode() if isinstance(counts, str) else counts
        runs = decompressed(text)
    elif isinstance(counts, list) and all(isinstance(one, int) and one >= 0 for one in counts):
        text, runs = None, counts
    else:
        raise ValueError("must have run lengths that are integers of at least 0, or their compressed form")
    if sum(runs) != size[0] * size[1] or min(runs, default=0) < 0:
        raise ValueError(
            f"must have run lengths that fill its image of {size[0]} x {size[1]} = {size[0] * size[1]:,} pixels, got "
            f"{sum(runs):,} pixels"
        )
    if text is not None:
        return {"size": list(size), "counts": text}
    rle = import_extra("pycocotools.mask", "detection", "COCO needs")
    return rle.frPyObjects({"size": list(size), "counts": runs}, *size)


def decompressed(text: bytes) -> list[int]:
    """Return the run lengths of COCO's compressed form: numbers of five bits a byte, from the third on differences.

    Args:
        text: the compressed form.

    Raises:
        ValueError: if it ends within a number, or holds other bytes.
    """
    runs: list[int] = []
    value = shift = 0
    for byte in text:
        digit = byte - 48
        if not 0 <= digit < 64:
            raise ValueError(f"must have run lengths in COCO's compressed form, got the byte {byte}")
        value |= (digit & 0x1F) << shift
        shift += 5
        if digit & 0x20:  # more follows
            continue
        if digit & 0x10:
            value -= 1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("must have run lengths in COCO's compressed form, got one that is cut short")
    return runs

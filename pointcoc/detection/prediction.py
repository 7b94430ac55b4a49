"""Mask R-CNN asked about images: pictures with the objects, and a COCO file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pointcoc.checks import check_range
from pointcoc.detection.coco_scores import coco_records
from pointcoc.predict import Prediction, draw_objects
from pointcoc.predict.images import write_picture


@dataclass(frozen=True, kw_only=True)
class ObjectPrediction(Prediction):
    """Boxes, masks and labels that a Mask R-CNN finds, drawn and as objects.json.

    Args:
        threshold: lowest score of an object that counts.

    Raises:
        ValueError: if the threshold is not in [0, 1].
    """

    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1)

    def write(self, files: Sequence[Path], out: Path) -> None:
        """Write NAME.png for each image, and objects.json."""
        names, sizes, found = self.info.class_names or {}, [], []
        for file in files:
            image = self.read_image(file)
            with torch.no_grad():
                (one,) = self.model([image])
            keep = one["scores"] >= self.threshold
            one = {name: value[keep] for name, value in one.items()}
            write_picture(out / f"{file.stem}.png", draw_objects(image, one, names))
            sizes.append((image.shape[1], image.shape[2]))
            found.append(one)
        content = coco_dataset([str(file) for file in files], sizes, found, names)
        (out / "objects.json").write_text(json.dumps(content))


def coco_dataset(
    files: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    found: Sequence[Mapping[str, Tensor]],
    names: Mapping[int, str],
) -> dict[str, Any]:
    """Describe objects as a COCO file, which `pycocotools.coco.COCO` opens.

    Its list `annotations` alone is what `loadRes` takes.

    Args:
        files: names of the images; image i has the id i + 1.
        sizes: height and width of each.
        found: boxes, labels, scores and masks of each.
        names: names of classes; those without get their number as name.

    Returns:
        `images`, `annotations` with scores and masks as RLE, and `categories`.
    """
    from pycocotools.mask import area  # optional

    records = [record for image, one in enumerate(found, 1) for record in coco_records(image, one)]
    for number, record in enumerate(records, 1):
        rle = record["segmentation"]
        record |= {"id": number, "iscrowd": 0, "area": int(area(rle))}
        record["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}  # JSON knows no bytes
    ids = sorted({record["category_id"] for record in records} | set(names))
    return {
        "images": [
            {"id": number, "file_name": file, "height": height, "width": width}
            for number, (file, (height, width)) in enumerate(zip(files, sizes, strict=True), 1)
        ],
        "annotations": records,
        "categories": [{"id": number, "name": names.get(number, str(number))} for number in ids],
    }

"""Detectors asked about images: pictures with the objects, and a COCO file."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pointcoc.checks import check_range
from pointcoc.data.image_files import read_image
from pointcoc.detection.coco_scores import coco_records
from pointcoc.detection.found import Found, find_objects
from pointcoc.outputs import OutFolder
from pointcoc.predict import Input, Prediction, draw_objects
from pointcoc.predict.base import Write
from pointcoc.predict.images import write_picture

OBJECTS = "objects.json"


@dataclass(frozen=True, eq=False, kw_only=True)
class Objects:
    """What a detector finds in an image, the likeliest object first.

    Args:
        path: the file.
        size: height and width of the image.
        names: name of each class by its number.
        found: boxes in pixels, labels, scores, and of most detectors masks.
    """

    path: Path
    size: tuple[int, int]
    names: Mapping[int, str]
    found: Found

    @property
    def labels(self) -> tuple[str, ...]:
        """Name of the class of each object."""
        return tuple(self.names.get(label, str(label)) for label in self.found.labels.tolist())

    @property
    def scores(self) -> tuple[float, ...]:
        """Score of each object, in [0, 1]."""
        return tuple(self.found.scores.tolist())

    @property
    def boxes(self) -> Tensor:
        """Box of each object as x1, y1, x2, y2 in pixels, shape (n, 4)."""
        return self.found.boxes

    def mask(self, row: int) -> Tensor:
        """Return the mask of an object, shape (H, W), bool.

        Raises:
            ValueError: if the detector finds boxes alone.
        """
        if self.found.runs is None:
            raise ValueError("the detector finds boxes without masks: train a Mask R-CNN for masks")
        return self.found.mask(row)

    def __str__(self) -> str:
        listed = ", ".join(f"{name} {score:.1%}" for name, score in zip(self.labels, self.scores, strict=True))
        return listed or "no object"


@dataclass(frozen=True, kw_only=True)
class ObjectPrediction(Prediction):
    """Boxes, labels and, of Mask R-CNN, masks that a detector finds, drawn and as objects.json.

    Masks are enlarged and drawn one by one, so that memory does not grow with the number of objects.

    Args:
        threshold: lowest score of an object that counts.

    Raises:
        ValueError: if the threshold is not in [0, 1].
    """

    common = (OBJECTS,)

    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, 0, 1)

    def answer(self, file: Path) -> Objects:
        """Find the objects in an image; see `Prediction.answer`."""
        image = self.read_image(file)
        (found,) = find_objects(self.model, [image], self.threshold)
        names = self.info.class_names or {}
        return Objects(path=file, size=(image.shape[1], image.shape[2]), names=names, found=found)

    def outputs(self, one: Input) -> tuple[str, ...]:
        """Return NAME.png."""
        return (f"{one.name}.png",)

    @contextmanager
    def writing(self, out: OutFolder | None, shown: bool = False) -> Iterator[Write]:
        """Write NAME.png for each image, and objects.json."""
        assert out is not None
        images: list[tuple[str, tuple[int, int]]] = []
        records: list[dict[str, Any]] = []  # masks as run lengths: those of all images fit into memory

        def write(one: Input, found: Objects) -> str:
            (name,) = self.outputs(one)
            with out.file(name) as path:
                write_picture(path, draw_found(read_image(one.path), found.found, found.names))
            images.append((str(one.path), found.size))
            records.extend(found.found.records(len(images)))
            return f"{one.path}  {found}"

        yield write
        ids = {int(label): number for label, number in dict(self.info.notes.get("category_ids") or {}).items()}
        with out.file(OBJECTS) as path:
            path.write_text(json.dumps(_content(images, records, self.info.class_names or {}, ids)))


def draw_found(image: Tensor, found: Found, names: Mapping[int, str]) -> Tensor:
    """Draw objects over an image, masks one by one, see `pointcoc.predict.draw_objects`.

    Args:
        image: shape (3, H, W), in [0, 1].
        found: the objects.
        names: names of classes; those without are drawn as numbers.
    """
    masks = None if found.runs is None else map(found.mask, range(len(found)))
    one = {"boxes": found.boxes, "labels": found.labels, "scores": found.scores}
    return draw_objects(image, one, names, masks)


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
    records = [record for image, one in enumerate(found, 1) for record in coco_records(image, one)]
    return _content(list(zip(files, sizes, strict=True)), records, names)


def _content(
    images: Sequence[tuple[str, tuple[int, int]]],
    records: Sequence[dict[str, Any]],
    names: Mapping[int, str],
    ids: Mapping[int, Any] | None = None,
) -> dict[str, Any]:
    """Return the content of a COCO file: name and size of each image, and what `Found.records` made of each.

    Args:
        images: name and size of each.
        records: objects of all of them.
        names: names of classes by their labels.
        ids: ids of categories by their labels, as in the file that was trained on; the labels by default.
    """
    from pycocotools.mask import area  # optional

    labels = sorted({record["category_id"] for record in records} | set(names))
    numbers = {label: (ids or {}).get(label, label) for label in labels}
    for number, record in enumerate(records, 1):
        rle = record.get("segmentation")
        size = record["bbox"][2] * record["bbox"][3] if rle is None else int(area(rle))
        record |= {"id": number, "iscrowd": 0, "area": size, "category_id": numbers[record["category_id"]]}
        if rle is not None:  # JSON knows no bytes
            record["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    return {
        "images": [
            {"id": number, "file_name": file, "height": height, "width": width}
            for number, (file, (height, width)) in enumerate(images, 1)
        ],
        "annotations": records,
        "categories": [{"id": numbers[label], "name": names.get(label, str(label))} for label in labels],
    }

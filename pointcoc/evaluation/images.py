"""Images with a class each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pointcoc.checks import check_choice, check_folder
from pointcoc.data.formats import CLOUD_FORMATS, IMAGE_FORMATS
from pointcoc.data.image_transform import image_transform
from pointcoc.data.images import MADE_SPLIT, STAND_INS, ImageFolder, digest, folder_names
from pointcoc.data.labeled_images import LabeledImages
from pointcoc.train.class_numbers import in_numbers_of, shown_names
from pointcoc.train.multi_label import MultiLabel
from pointcoc.train.processes import say
from pointcoc.train.task import Classification, Task

BATCH_SIZE = 64


def open_images(
    model: Any,
    data: str | Path,
    split: str | None = None,
    source: str = "folder",
    image_key: str | None = None,
    label_key: str | None = None,
    labels: str | Path | Sequence[str] | None = None,
) -> tuple[Any, Task, dict[str, Any]]:
    """Open images for a classifier.

    Args:
        model: a classifier of images.
        data: folder with a folder per class, or with such folders for each split; folder of shards; name on the hub.
        split: folder of the split, or name of a split of shards or on the hub; by default val, test or validation,
            whichever there is, or the folder itself where its folders are classes.
        source: "folder", "wds" for shards, "hfds" for Hugging Face datasets.
        image_key: see `ShardImages` and `HubImages`.
        label_key: see there.
        labels: table of images with several labels each, see `LabeledImages`; for weights that give several labels.
    """
    has_several = bool(model.weights_info.notes.get("multi_label"))
    if has_several != (labels is not None):
        told = "several labels: name their table by labels" if has_several else "one class: leave labels out"
        raise ValueError(f"the weights give each image {told}")
    check_choice("source", source, tuple(IMAGE_FORMATS))
    transform = image_transform(model, model.config.in_channels)
    keys = {name: key for name, key in (("image_key", image_key), ("label_key", label_key)) if key is not None}
    if labels is not None:
        table = labels if isinstance(labels, (str, Path)) else labels[0]
        dataset: Any = LabeledImages(check_folder("data", data), table, split or "val", transform)
    elif source != "folder":
        dataset = IMAGE_FORMATS[source].open(str(data), split or "validation", transform, **keys)
    elif keys:
        raise ValueError(f"{next(iter(keys))} has no effect on class folders: leave it out, or give source wds or hfds")
    else:
        folder = _split_folder(check_folder("data", data), split, model)
        dataset = ImageFolder(folder, sorted(folder_names(folder)), transform)
        _leave_out_trained(dataset, model, split)
    names = getattr(dataset, "classes", None)
    noted = {"classes": shown_names(model, names, str(data))}
    task: Task = MultiLabel(model.config.num_classes, noted)
    if not has_several:
        task = Classification(model.config.num_classes)
        task.notes = noted
    return in_numbers_of(model, dataset, str(data)), task, {"batch_size": BATCH_SIZE}


def _leave_out_trained(images: ImageFolder, model: Any, split: str | None) -> None:
    """Keep the images that were held out where the weights were trained on the rest of this folder."""
    noted = model.weights_info.notes.get(MADE_SPLIT)
    if noted is None or split is not None:
        return
    parts = images.split_by(images.held_out())
    if digest(parts["train"]) == noted:
        say(
            f"{images.root} is what the weights were trained on: the {len(parts['val'])} of {len(images)} images that "
            "were held out are measured"
        )
        images.keep(set(parts["val"]))


def _split_folder(root: Path, split: str | None, model: Any) -> Path:
    if any(one.fits(root) for one in CLOUD_FORMATS.values()):
        raise ValueError(f"the network takes images, but {root} is a folder of clouds")
    if split is not None:
        return check_folder("the folder of the split", root / split)
    for name in STAND_INS:
        if (root / name).is_dir():
            return root / name
    if (root / "train").is_dir() and MADE_SPLIT in model.weights_info.notes:
        return root / "train"
    if (root / "train").is_dir():
        raise FileNotFoundError(
            f"data {root} must hold a folder {' or '.join(f'{name}/' for name in STAND_INS)} to measure on; it holds "
            f"{', '.join(sorted(folder_names(root)))}. split='train' measures on what was trained on"
        )
    if not folder_names(root):
        raise FileNotFoundError(f"data {root} must hold one folder per class with images in it, got no folders")
    return root

"""Tiny tar shards and Hugging Face datasets."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


def write_shards(folder: Path, lengths: tuple[int, ...] = (5, 4, 3), split: str = "train") -> Path:
    """Write shards of images of one gray value each: 0, 1, 2 ... in order, their labels that modulo 3."""
    folder.mkdir(exist_ok=True)
    names, value = [f"{split}-{number}.tar" for number in range(len(lengths))], 0
    for name, length in zip(names, lengths, strict=True):
        with tarfile.open(folder / name, "w") as tar:
            for _ in range(length):
                for ending, content in (("png", png(value)), ("cls", str(value % 3).encode())):
                    member = tarfile.TarInfo(f"{value:04}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                value += 1
    path = folder / "_info.json"
    info = json.loads(path.read_text()) if path.exists() else {"splits": {}}
    info["splits"][split] = {
        "name": split, "num_samples": sum(lengths), "filenames": names, "shard_lengths": lengths,
    }  # fmt: skip
    path.write_text(json.dumps(info))
    return folder


def write_hub(folder: Path, monkeypatch: pytest.MonkeyPatch, splits: dict[str, int]) -> Path:
    """Write a Hugging Face dataset of parquet files: gray values 0, 1, 2 ... in two named classes in turn."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["dark", "light"]))
    (folder / "hub").mkdir()
    for split, count in splits.items():
        images = [{"bytes": png(value), "path": None} for value in range(count)]
        rows = {"image": images, "label": [value % 2 for value in range(count)]}
        datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "hub" / f"{split}.parquet")
    return folder / "hub"

"""A real HDF5 file of which rows cannot be read: each row is a compressed chunk, and those of some are overwritten."""

from pathlib import Path

import h5py
import numpy as np


def write_damaged(path: Path, data: np.ndarray, labels: np.ndarray, rows: tuple[int, ...]) -> None:
    """Write the datasets data and label, then damage rows of data."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("data", data=data, chunks=(1, *data.shape[1:]), compression="gzip")
        file["label"] = labels
        chunks = [dataset.id.get_chunk_info_by_coord((row,) + (0,) * (data.ndim - 1)) for row in rows]
    with path.open("r+b") as file:
        for chunk in chunks:
            file.seek(chunk.byte_offset)
            file.write(b"\xff" * chunk.size)

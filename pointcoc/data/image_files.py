"""Images from files: upright, as 8 bits of red, green and blue, with the reason where a file cannot be read.

Everything in the library that reads images reads them here. What counts as one image:

- The orientation in the EXIF data is obeyed, so that rows and columns are those that viewers show.
- 16-bit and 32-bit integers and floats are scaled by the range of their type (see `_gray_bytes`).
- Transparent pixels show `BACKGROUND`; the colors hidden below them do not count.
- The first frame of an animation, the first page of a TIFF.
- CMYK and CIELAB become RGB, through the color profile of the file where it has one.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pointcoc.checks import InputWarning, import_extra
from pointcoc.files import first_line

BACKGROUND = (255, 255, 255)
"""Color behind transparent pixels: white, as on a page."""
MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image, that of Pillow; `MAX_PIXELS_VARIABLE` in the environment raises it."""
MAX_PIXELS_VARIABLE = "POINTCOC_MAX_PIXELS"
ENDINGS = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm",
    ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip
"""Endings of the files of images that are read from folders."""
OTHER_ENDINGS = (
    ".svg", ".pdf", ".eps", ".psd", ".xcf", ".ico", ".jxl", ".exr", ".hdr", ".dcm", ".nii", ".raw", ".dng", ".cr2",
    ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".mp4", ".mov",
)  # fmt: skip
"""Endings of images that are not read; a line tells how many of them lie in a folder."""
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
RANGES = (255, 65535, 2**31 - 1, 2**32 - 1)
SIGNATURES = {  # what the first bytes of files that are no images say of them
    b"version https://git-lfs": "a pointer of Git LFS, not the image itself: run `git lfs pull`",
    b"%PDF": "a PDF: export its pages as PNG",
    b"%!PS": "PostScript: export it as PNG",
    b"PK\x03\x04": "a ZIP archive: unpack it",
    b"\x1f\x8b": "an archive of gzip: unpack it",
    b"8BPS": "a file of Photoshop: export it as PNG",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "an array of NumPy: save it as PNG",
}
PLUGINS = {  # brands of ISO media files, and the plug-ins of Pillow that read them
    "HEIC": ((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "pillow_heif", "register_heif_opener"),
    "AVIF": ((b"avif", b"avis"), "pillow_avif", None),
}
ORIENTATION = 0x0112
"""Tag of EXIF data that says how an image is stored."""
SIDEWAYS = (5, 6, 7, 8)
"""Its values for images whose stored rows are the columns that viewers show."""
_LOCK = threading.Lock()


def read_image(path: str | Path) -> Tensor:
    """Read an image as three channels, floats in [0, 1], shape (3, H, W); see the module for what counts as one.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read; the message tells the reason.
        ImportError: if Pillow is not installed.
    """
    return torch.from_numpy(np.array(open_image(path))).permute(2, 0, 1).float() / 255


def open_image(source: str | Path | Any, name: str | None = None) -> Any:
    """Read an image as a PIL image of mode RGB; see the module for what counts as one.

    Args:
        source: the file: a path, or a binary file object.
        name: name of the file for messages; its path if not given.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read; the message tells the reason.
        ImportError: if Pillow is not installed.
    """
    with opened(source, name) as image:
        try:
            return to_rgb(image)
        except (OSError, ValueError) as error:
            raise ValueError(f"{name or source} cannot be read: {first_line(error)}") from error


@contextmanager
def opened(source: str | Path | Any, name: str | None = None) -> Iterator[Any]:
    """Yield an image with the mode of its file (palette, gray, ...), its pixels read, rows and columns as viewers show.

    Args:
        source: see `open_image`.
        name: see `open_image`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read, here or in the block; the message tells the reason.
    """
    pil = import_extra("PIL.Image", needs="images need")
    path = source if isinstance(source, (str, Path)) else None
    where = name or (str(path) if path is not None else "the image")
    if path is not None:
        _check_there(Path(path))
    try:
        with _lazily(pil, source) as file:
            check_pixels(file.size, where)
            file.load()
            turned = upright(file)
    except (ImportError, MemoryError, FileNotFoundError, _Refused):
        raise
    except Exception as error:  # the decoders of Pillow raise OSError, SyntaxError, struct.error, IndexError, ...
        raise ValueError(_reason(source, where, error)) from error
    yield turned


def upright_size(path: str | Path) -> tuple[int, int]:
    """Return height and width of an image as viewers show it, without reading its pixels.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it cannot be read; the message tells the reason.
        ImportError: if Pillow is not installed.
    """
    pil = import_extra("PIL.Image", needs="images need")
    _check_there(Path(path))
    try:
        with _lazily(pil, path) as file:
            width, height = file.size
            return (width, height) if _orientation(file) in SIDEWAYS else (height, width)
    except (ImportError, FileNotFoundError, _Refused):
        raise
    except Exception as error:  # see `opened`
        raise ValueError(_reason(path, str(path), error)) from error


def _orientation(image: Any) -> Any:
    try:
        return image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF data turn nothing
        return None


def upright(image: Any) -> Any:
    """Return a copy of a PIL image, turned as its EXIF orientation says; one that cannot be read turns nothing."""
    ops = import_extra("PIL.ImageOps", needs="images need")
    try:
        return ops.exif_transpose(image) or image.copy()
    except Exception:  # damaged EXIF data: the pixels are there all the same
        return image.copy()


def to_rgb(image: Any) -> Any:
    """Return a PIL image of any mode as RGB: transparency over `BACKGROUND`, deep grays scaled to 8 bits."""
    pil = import_extra("PIL.Image", needs="images need")
    alpha = None
    if image.mode in DEEP_MODES:
        image, alpha = _shallow(pil, image)
    elif image.has_transparency_data:
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = image.getchannel("A")
    rgb = _colors(image)
    if alpha is None:
        return rgb
    return pil.composite(rgb, pil.new("RGB", rgb.size, BACKGROUND), alpha)


def list_images(folder: Path, endings: Iterable[str] = ENDINGS) -> list[Path]:
    """Return the files of images in a folder, sorted by name; hidden ones (.NAME, ._NAME) are none.

    A line (`InputWarning`) tells how many files look like images that are not read.

    Args:
        folder: the folder; those in it are not entered.
        endings: the endings that are read.
    """
    files = [path for path in folder.iterdir() if path.is_file() and not is_hidden(path)]
    say_unread(files, str(folder))
    return sorted(path for path in files if path.suffix.lower() in endings)


def say_unread(files: Iterable[Path], where: str) -> None:
    """Tell, in one line, how many files look like images whose ending is not read."""
    count = Counter(path.suffix.lower() for path in files if path.suffix.lower() in OTHER_ENDINGS)
    if count:
        found = ", ".join(f"{number} {ending}" for ending, number in sorted(count.items()))
        warnings.warn(f"{where}: files left out, whose ending is not read: {found}", InputWarning, stacklevel=2)


def is_hidden(path: Path) -> bool:
    """Whether a file or folder is no data: .NAME, ._NAME of macOS, __MACOSX, .ipynb_checkpoints, __pycache__."""
    return path.name.startswith((".", "__"))


def check_pixels(size: tuple[int, int], where: str) -> None:
    """Raise unless an image has at most as many pixels as are allowed (see `max_pixels`).

    Args:
        size: width and height.
        where: name of the image.

    Raises:
        ValueError: the message holds both numbers and how to raise the bound.
    """
    most = max_pixels()
    if size[0] * size[1] > most:
        raise _Refused(
            f"{where} has {size[0] * size[1]:,} pixels ({size[1]:,} x {size[0]:,}), more than the {most:,} allowed: "
            f"make it smaller, or set the environment variable {MAX_PIXELS_VARIABLE}={size[0] * size[1]}"
        )


def max_pixels() -> int:
    """Return the largest number of pixels of an image: that of the environment, else `MAX_PIXELS`.

    Raises:
        ValueError: if the variable holds no positive integer.
    """
    value = os.environ.get(MAX_PIXELS_VARIABLE)
    if value is None:
        return MAX_PIXELS
    plain = value.replace("_", "").replace(",", "")
    if not plain.isdecimal() or not int(plain):
        raise _Refused(f"{MAX_PIXELS_VARIABLE} must be a number of pixels, got {value!r}")
    return int(plain)


class _Refused(ValueError):
    """An error of our own, which needs no further reason."""


@contextmanager
def _lazily(pil: Any, source: Any) -> Iterator[Any]:
    """Open a file without its pixels; the bound of Pillow is replaced by ours."""
    file = _open(pil, source)
    with file:
        yield file


def _open(pil: Any, source: Any) -> Any:
    with _LOCK:
        before, pil.MAX_IMAGE_PIXELS = pil.MAX_IMAGE_PIXELS, None
        try:
            return pil.open(source)
        except pil.UnidentifiedImageError:
            if not _add_plugin(_start(source)):
                raise
            return pil.open(source)
        finally:
            pil.MAX_IMAGE_PIXELS = before


def _add_plugin(start: bytes) -> bool:
    """Register the plug-in that reads a file, if there is one and it is installed."""
    found = _plugin_of(start)
    if found is None:
        return False
    _, module, register = found
    try:
        plugin = __import__(module)
    except ImportError:
        return False
    if register is not None:
        getattr(plugin, register)()
    return True


def _plugin_of(start: bytes) -> tuple[str, str, str | None] | None:
    if start[4:8] != b"ftyp":
        return None
    brands = start[8:64]
    for format_, (names, module, register) in PLUGINS.items():
        if any(name in brands for name in names):
            return format_, module, register
    return None


def _shallow(pil: Any, image: Any) -> tuple[Any, Any]:
    """Return a deep gray image with 8 bits, and its alpha: a transparent value, or none."""
    values = np.asarray(image)
    transparent = image.info.get("transparency")
    alpha = None
    if isinstance(transparent, (int, float)):
        alpha = pil.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8))
    gray = _gray_bytes(values, image.mode.startswith("I;16"))
    return pil.fromarray(gray), alpha


def _gray_bytes(values: np.ndarray, is_16_bit: bool) -> np.ndarray:
    """Scale gray values to bytes by the range of their type.

    16-bit integers range to 65,535. Other integers to the first of 255, 65,535, 2^31 - 1 and 2^32 - 1 that is not below
    the largest value; floats in [0, 1] to 1, others to the first of these; where a value is negative, or above all of
    them, from the smallest value to the largest.

    Raises:
        ValueError: if a value is no number.
    """
    is_float, values = values.dtype.kind == "f", values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"pixels that hold no number (NaN or infinite): {int((~np.isfinite(values)).sum()):,}")
    low, high = float(values.min()), float(values.max())
    ranges = (65535,) if is_16_bit else RANGES
    if is_float and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= ranges[-1]:
        low, high = 0.0, float(next(one for one in ranges if high <= one))
    scaled = (values - low) / (high - low or 1.0)
    return np.rint(255 * scaled).astype(np.uint8)


def _colors(image: Any) -> Any:
    """Return an image as RGB without its alpha; CMYK and CIELAB through color profiles."""
    if image.mode == "LAB" or (image.mode == "CMYK" and image.info.get("icc_profile")):
        cms = import_extra("PIL.ImageCms", needs="images need")
        profile = image.info.get("icc_profile")
        source = cms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(profile)
        try:
            return cms.profileToProfile(image, source, cms.createProfile("sRGB"), outputMode="RGB")
        except cms.PyCMSError:
            if image.mode == "LAB":
                raise
    return image.convert("RGB")


def _check_there(path: Path) -> None:
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder, not an image")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")


def _reason(source: Any, where: str, error: Exception) -> str:
    """Say why a file cannot be read."""
    start = _start(source)
    if not start:
        return f"{where} cannot be read: it is empty (0 bytes)"
    if type(error).__name__ == "UnidentifiedImageError":
        return f"{where} cannot be read: it is {_what_it_is(start)}"
    said = first_line(error)
    is_short = isinstance(error, EOFError) or any(
        word in said.lower() for word in ("truncated", "cut", "not enough", "unexpected end", "buffer is not large")
    )
    return f"{where} cannot be read: it is {'cut short' if is_short else 'damaged'} ({said})"


def _start(source: Any) -> bytes:
    """First bytes of a file."""
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            return file.read(512)
    source.seek(0)
    start = source.read(512)
    source.seek(0)
    return start


def _what_it_is(start: bytes) -> str:
    """Say what a file is that Pillow does not know."""
    plugin = _plugin_of(start)
    if plugin is not None:
        return f"{plugin[0]}, which needs a plug-in of Pillow: pip install {plugin[1].replace('_', '-')}"
    if start[4:8] == b"ftyp":
        return "a video"
    for signature, what in SIGNATURES.items():
        if start.startswith(signature):
            return what
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML), not an image: the download failed"
    if text.startswith(b"<svg") or b"<svg" in text:
        return "SVG, a drawing of lines: export it as PNG"
    if text.startswith((b"{", b"[", b"<?xml")):
        return "text, not an image"
    if all(byte >= 32 or byte in (9, 10, 13) for byte in start) and _is_text(start):
        return "text, not an image"
    return "no image that Pillow knows, whatever its name says"


def _is_text(start: bytes) -> bool:
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4
    return True

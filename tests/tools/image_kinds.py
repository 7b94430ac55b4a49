"""One photo as it comes in files: stored turned, in several depths, with several kinds of transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATIONS = tuple(range(1, 9))
DEPTHS = ("8", "16", "16-tiff", "16-pgm", "32", "32-full", "float", "float-255")
ALPHAS = ("RGBA", "LA", "P", "P-bytes", "L", "RGB", "I;16")
TURNS = {  # how an upright photo is stored, by the value of the tag
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
TAG = 0x0112


def photo(height: int = 24, width: int = 36, seed: int = 0) -> Image.Image:
    """A photo of noise that is darker at the top and redder at the left; no value is white."""
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    rows, columns = np.arange(height)[:, None], np.arange(width)
    noise[..., 0] += 150 * (width - columns) // width
    noise[..., 1:] += (150 * rows // height)[..., None]
    return Image.fromarray(noise.astype(np.uint8))


def write_turned(path: Path, image: Image.Image, orientation: int) -> Path:
    """Store a photo turned, with the tag that says so."""
    exif = Image.Exif()
    exif[TAG] = orientation
    stored = image.transpose(TURNS[orientation]) if orientation in TURNS else image
    lossy = {"quality": 95} if path.suffix in (".jpg", ".webp", ".avif") else {}
    stored.save(path, exif=exif, **lossy)
    return path


def write_depth(folder: Path, image: Image.Image, depth: str) -> Path:
    """Store the gray values of a photo in another depth."""
    gray = np.asarray(image.convert("L"))
    kinds = {
        "8": (gray, "png"),
        "16": (gray.astype(np.uint16) * 257, "png"),
        "16-tiff": (gray.astype(np.uint16) * 257, "tif"),
        "16-pgm": (gray.astype(np.uint16) * 257, "pgm"),
        "32": (gray.astype(np.int32) * 257, "tif"),
        "32-full": (np.rint(gray / 255 * (2**31 - 1)).astype(np.int32), "tif"),
        "float": ((gray / 255).astype(np.float32), "tif"),
        "float-255": (gray.astype(np.float32), "tif"),
    }
    values, ending = kinds[depth]
    path = folder / f"depth-{depth}.{ending}"
    if ending == "pgm":
        height, width = values.shape
        path.write_bytes(f"P5 {width} {height} 65535\n".encode() + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(path)
    return path


def write_alpha(folder: Path, image: Image.Image, alpha: str) -> Path:
    """Store a photo whose left 12 columns are transparent, magenta or black hidden below."""
    path = folder / f"alpha-{alpha.replace(';', '')}.png"
    mask = np.full((image.height, image.width), 255, dtype=np.uint8)
    mask[:, :12] = 0
    hidden = np.array(image)
    hidden[:, :12] = (255, 0, 255)
    covered, opaque = Image.fromarray(hidden), Image.fromarray(mask)
    if alpha == "RGBA":
        covered.putalpha(opaque)
        covered.save(path)
    elif alpha == "RGB":
        covered.save(path, transparency=(255, 0, 255))
    elif alpha in ("L", "LA", "I;16"):
        gray = np.array(image.convert("L"))
        gray[:, :12] = 255 if alpha == "LA" else 254
        if alpha == "LA":
            Image.merge("LA", (Image.fromarray(gray), opaque)).save(path)
        elif alpha == "L":
            Image.fromarray(gray).save(path, transparency=254)
        else:
            Image.fromarray(gray.astype(np.uint16) * 257).save(path, transparency=254 * 257)
    else:
        indices = np.array(image.quantize(15)) + 1
        palette = [255, 0, 255, *image.quantize(15).getpalette()[:45]]
        indices[:, :12] = 0
        stored = Image.fromarray(indices.astype(np.uint8), mode="P")
        stored.putpalette(palette)
        stored.save(path, transparency=0 if alpha == "P" else bytes([0, *[255] * 15]))
    return path

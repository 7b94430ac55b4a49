"""The reader of images: upright, scaled, opaque, and the reason where a file cannot be read."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_kinds import ALPHAS, DEPTHS, ORIENTATIONS, photo, write_alpha, write_depth, write_turned
from PIL import Image, ImageCms

from pointcoc.checks import InputWarning
from pointcoc.data import image_files
from pointcoc.data.image_files import list_images, open_image, read_image


def truth(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1) / 255


@pytest.mark.parametrize("ending", [".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations(tmp_path: Path, orientation: int, ending: str) -> None:
    path = write_turned(tmp_path / f"a{ending}", photo(), orientation)
    image = read_image(path)
    assert image.shape == (3, 24, 36)
    tolerance = {".png": 0, ".tif": 0}.get(ending, 0.05)  # the others are lossy
    assert float((image - truth(photo())).abs().mean()) <= tolerance


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientations_of_jpeg(tmp_path: Path, orientation: int) -> None:
    smooth = photo().resize((9, 6)).resize((36, 24), Image.Resampling.BICUBIC)
    image = read_image(write_turned(tmp_path / "a.jpg", smooth, orientation))
    assert float((image - truth(smooth)).abs().mean()) < 0.02


def test_damaged_exif_data_turn_nothing(tmp_path: Path) -> None:
    photo().save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\xff\xff")
    assert torch.equal(read_image(tmp_path / "a.png"), truth(photo()))


@pytest.mark.parametrize("depth", DEPTHS)
def test_depths(tmp_path: Path, depth: str) -> None:
    path = write_depth(tmp_path, photo(), depth)
    assert torch.equal(read_image(path), truth(photo().convert("L")))


def test_values_outside_all_types_are_spread(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-100.0, 0, 100]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == pytest.approx([0, 128 / 255, 1])
    Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32)).save(tmp_path / "b.tif")
    with pytest.raises(ValueError, match=r"b\.tif cannot be read: pixels that hold no number .*: 1$"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize("alpha", ALPHAS)
def test_transparency_shows_white_whatever_color_it_hides(tmp_path: Path, alpha: str) -> None:
    path = write_alpha(tmp_path, photo(), alpha)
    with Image.open(path) as stored:
        assert stored.has_transparency_data
    image = read_image(path)
    assert bool((image[:, :, :12] == 1).all())
    expected = truth(photo().convert("L") if alpha in ("LA", "L", "I;16") else photo())[:, :, 12:]
    tolerance = 0.25 if alpha.startswith("P") else 0  # a palette of 16 colors
    assert float((image[:, :, 12:] - expected).abs().mean()) <= tolerance


def test_half_transparent(tmp_path: Path) -> None:
    Image.new("RGBA", (1, 1), (0, 0, 0, 51)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").flatten().tolist() == pytest.approx([0.8] * 3)


def test_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "lime")]
    for name in ("a.gif", "a.webp", "a.tif", "a.png"):
        lossless = {"lossless": True} if name.endswith("webp") else {}
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **lossless)
        assert read_image(tmp_path / name)[:, 0, 0].tolist() == [1, 0, 0]


def test_colors_of_print_and_of_cielab(tmp_path: Path) -> None:
    smooth = photo().resize((3, 2)).resize((36, 24), Image.Resampling.BICUBIC)
    smooth.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert float((read_image(tmp_path / "a.jpg") - truth(smooth)).abs().mean()) < 0.03
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    ImageCms.profileToProfile(smooth, *profiles, outputMode="LAB").save(tmp_path / "a.tif")
    assert float((read_image(tmp_path / "a.tif") - truth(smooth)).abs().mean()) < 0.03


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "HSV", "RGBX", "RGBa", "La"])
def test_modes(mode: str) -> None:
    source = photo().convert("RGBA") if mode == "RGBa" else photo().convert("LA") if mode == "La" else photo()
    assert image_files.to_rgb(source.convert(mode)).mode == "RGB"


def test_heic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    smooth = photo().resize((4, 3)).resize((64, 48), Image.Resampling.BICUBIC)
    heif.from_pillow(smooth).save(tmp_path / "a.heic")
    assert float((read_image(tmp_path / "a.heic") - truth(smooth)).abs().mean()) < 0.05


def cut(path: Path) -> None:
    photo().resize((360, 240)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


REASONS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "cut.jpg": (cut, r"is cut short \("),
    "cut.png": (cut, r"is cut short \("),
    "page.jpg": (lambda path: path.write_text("\n<!DOCTYPE html><html>"), "is a web page"),
    "text.png": (lambda path: path.write_text("hello"), "is text, not an image"),
    "empty.png": (lambda path: path.write_bytes(b""), r"is empty \(0 bytes\)"),
    "lfs.png": (lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"), "git lfs pull"),
    "drawing.png": (lambda path: path.write_text('<?xml version="1.0"?><svg xmlns="a">'), "is SVG"),
    "film.jpg": (lambda path: path.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(50)), "is a video"),
    "pages.png": (lambda path: path.write_bytes(b"%PDF-1.7\n"), "is a PDF"),
    "noise.png": (lambda path: path.write_bytes(bytes(range(256))), "is no image that Pillow knows"),
    "damaged.png": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)), "cannot be read"),
    "phone.heic": (
        lambda path: path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1" + bytes(50)),
        "pip install pillow-heif|is damaged|no image that Pillow knows|is HEIC",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_reasons(tmp_path: Path, name: str) -> None:
    write, reason = REASONS[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=reason) as error:
        read_image(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_heic_without_the_plugin_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "_add_plugin", lambda start: False)
    (tmp_path / "a.heif").write_bytes(b"\0\0\0\x18ftypheix\0\0\0\0mif1" + bytes(50))
    with pytest.raises(ValueError, match="it is HEIC, which needs a plug-in of Pillow: pip install pillow-heif"):
        read_image(tmp_path / "a.heif")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png is not a file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="is a folder, not an image"):
        read_image(tmp_path)


def test_the_bound_of_pixels_and_how_to_raise_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (14_000, 13_000)).save(tmp_path / "a.png")
    size, bound = r"182,000,000 pixels \(13,000 x 14,000\)", "more than the 178,956,970 allowed"
    sentence = f"{size}, {bound}: .* POINTCOC_MAX_PIXELS=182000000"
    with pytest.raises(ValueError, match=sentence):
        open_image(tmp_path / "a.png")
    before = Image.MAX_IMAGE_PIXELS
    photo().save(tmp_path / "b.png")
    monkeypatch.setenv("POINTCOC_MAX_PIXELS", "500")
    with pytest.raises(ValueError, match=r"864 pixels \(24 x 36\), more than the 500 allowed"):
        open_image(tmp_path / "b.png")
    monkeypatch.setenv("POINTCOC_MAX_PIXELS", "1_000")
    assert open_image(tmp_path / "b.png").size == (36, 24)
    monkeypatch.setenv("POINTCOC_MAX_PIXELS", "many")
    with pytest.raises(ValueError, match="POINTCOC_MAX_PIXELS must be a number of pixels, got 'many'"):
        open_image(tmp_path / "b.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_files_in_memory() -> None:
    file = io.BytesIO()
    photo().save(file, "PNG")
    file.seek(0)
    assert open_image(file).tobytes() == photo().tobytes()
    with pytest.raises(ValueError, match="row 3 cannot be read: it is text, not an image"):
        open_image(io.BytesIO(b"hello"), "row 3")


def test_hidden_files_are_no_images_and_unread_ones_are_counted(tmp_path: Path) -> None:
    for name in ("b.png", "a.TIF", "._a.png", ".hidden.png"):
        photo().save(tmp_path / name)
    for name in ("x.cr2", "y.cr2", "z.svg", "notes.txt"):
        (tmp_path / name).write_text("")
    with pytest.warns(InputWarning, match=r"files left out, whose ending is not read: 2 \.cr2, 1 \.svg$"):
        assert [path.name for path in list_images(tmp_path)] == ["a.TIF", "b.png"]

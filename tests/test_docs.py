"""The documentation says what is true: its pages run from top to bottom, its tables are those of the code."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import runpy
from pathlib import Path

import pytest
import torch
from code_blocks import blocks_of, run_blocks, write_official_checkpoint
from official_formula import official_state
from official_forward import official_logits
from torch.nn import functional as F

from pointcoc import PRESETS, ContextClusterNet, NetworkConfig
from pointcoc.models.network import expected_shapes
from pointcoc.models.weights.folder import override
from pointcoc.models.weights.policy import RULES, fields_changing

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {page.stem: page for page in sorted(DOCS.glob("*.md"))}
SIZES = runpy.run_path(str(ROOT / "benchmarks" / "sizes.py"))
OFFICIAL_SHAPES = json.loads((ROOT / "tests" / "official" / "state_dict_shapes.json").read_text())


def table(page: str, heading: str) -> list[list[str]]:
    """Cells of the rows of the table whose first column has a heading."""
    _, _, rest = PAGES[page].read_text().partition(f"| {heading} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, with a checkpoint as the authors publish them, of noise."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "home"))
    return tmp_path


def write_inputs(folder: Path) -> None:
    """Write the image and the cloud that a page gives to the commands that draw."""
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 90, 30)).save(folder / "photo.jpg")
    (folder / "cloud.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        "0 0 0\n1 0 0\n0 1 0\n"
    )


@pytest.mark.parametrize("page", [name for name, page in PAGES.items() if blocks_of(page)])
def test_pages_run_from_top_to_bottom(page: str, place: Path) -> None:
    if page == "export":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    if page in ("weights", "timm"):
        write_official_checkpoint(place / "coc_tiny.pth.tar")
    if page in ("gallery", "timm"):
        pytest.importorskip("pytorch_grad_cam", reason="class activation maps need the extra viz")
    if page in ("gallery", "segmentation", "detection"):
        write_inputs(place)
    run_blocks(PAGES[page])


@pytest.mark.parametrize("page", PAGES)
def test_scripts_that_pages_name_exist(page: str) -> None:
    for script in re.findall(r"python ((?:examples|benchmarks)/\S+\.py)", PAGES[page].read_text()):
        assert (ROOT / script).is_file(), script


def test_the_table_of_sizes_is_that_of_the_benchmark() -> None:
    rows = table("sizes", "height x width")
    sizes = [tuple(int(n) for n in row[0].split(" x ")) for row in rows]
    assert tuple(sizes) == SIZES["SIZES"]
    assert len(set(sizes)) == 60
    assert {row[1] for row in rows} == {"runs"}
    assert [row[2] for row in rows] == [SIZES["official_answer"](size) for size in sizes]


@pytest.mark.parametrize("size", SIZES["SIZES"])
def test_the_rules_of_the_authors_code_are_those_of_torch(size: tuple[int, int]) -> None:
    """The answer by rules against the operations themselves, on one channel of ones."""
    answer = SIZES["official_answer"](size)
    try:
        maps = F.conv2d(torch.ones(1, 1, *size), torch.ones(1, 1, 4, 4), stride=4)
        seen = maps.sum() == torch.ones(size).sum()
        for regions in PRESETS["coc_tiny"].regions:
            maps.reshape(regions, maps.shape[2] // regions, regions, maps.shape[3] // regions)
            maps = F.conv2d(maps, torch.ones(1, 1, 3, 3), stride=2, padding=1)
    except RuntimeError:
        assert answer.startswith("fails")
    else:
        assert answer == "runs" if seen else answer.startswith("drops")


@pytest.mark.parametrize("size", [size for size in SIZES["SIZES"] if SIZES["official_answer"](size) == "runs"][:7])
def test_where_the_authors_code_drops_nothing_the_numbers_are_its_numbers(size: tuple[int, int]) -> None:
    config = PRESETS["coc_tiny"].replace(depths=(1, 1, 1, 1), dims=(8, 12, 16, 20), head_dims=4, mlp_ratios=2)
    settings = {
        "layers": config.depths,
        "dims": config.dims,
        "mlp": config.mlp_ratios,
        "heads": config.heads,
        "hd": config.head_dims,
    }
    state = official_state({**settings, "num_classes": config.num_classes})
    images = torch.rand(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits = ContextClusterNet.from_official(state, config=config)(images)
    expected = official_logits(images, state, config.heads, config.regions, config.centers)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)


def test_one_size_runs_as_the_table_says() -> None:
    net = ContextClusterNet.from_preset("coc_tiny").eval()
    assert SIZES["our_answer"](net, (7, 13)) == "runs"
    with torch.no_grad():
        net.head.bias.fill_(torch.nan)
    assert SIZES["our_answer"](net, (7, 13)) == "fails: logits are not finite"


def test_every_option_stands_in_the_table() -> None:
    named = [name for row in table("options", "field") for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(named) == sorted(field.name for field in dataclasses.fields(NetworkConfig))


OTHER_VALUES = {
    "strides": 2, "neighbors": 12, "voxels": (0.1, 0.2, 0.3, 0.6), "partition": "cells", "regions": (4, 2, 1),
    "window": 3, "proposals": "cells", "centers": 3, "center_neighbors": 5,
    "normalizer": "count", "assignment": "soft", "iterations": 2, "drop_path": 0.1, "dropout": 0.1,
    "backend": "ragged",
}  # fmt: skip


def test_the_table_says_what_each_option_changes() -> None:
    rows = {name: row for row in table("options", "field") for name in re.findall(r"`(\w+)`", row[0])}
    assert {name: row[1].split(";")[0] for name, row in rows.items()} == {
        name: rule["changes"] for name, rule in RULES.items()
    }
    lattices = {name for name, row in rows.items() if "reducers" in row[1]}
    assert lattices == {*fields_changing("reducers"), "strides", "neighbors"}


def test_options_that_need_no_other_weights() -> None:
    assert OTHER_VALUES.keys() == {*fields_changing("equations", "positions", "training", "nothing")}
    scene = PRESETS["coc_scene"].replace(proposals="fps")
    for name, value in OTHER_VALUES.items():
        cloud = scene if name in ("voxels", "partition") else PRESETS["coc_points"]
        other = override(cloud, {name: value})
        assert other != cloud, name
        assert expected_shapes(other) == expected_shapes(cloud), name


def test_the_table_of_presets_is_that_of_the_code() -> None:
    rows = table("weights", "preset")
    assert len(rows) == 7
    for name, *cells, parameters, _, _ in rows:
        config = PRESETS[name.strip("`")]
        expected = (config.depths, config.dims, config.heads, config.regions, config.centers)
        assert [tuple(map(int, cell.split())) for cell in cells] == [*expected]
        shapes = expected_shapes(config).values()
        assert int(parameters.replace(",", "")) == sum(torch.Size(shape).numel() for shape in shapes)


def test_the_benchmark_of_scenes_prints_a_row_a_size(capsys, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    scenes = runpy.run_path(str(ROOT / "benchmarks" / "scenes.py"))
    scenes["main"](["--sizes", "50", "300", "--repeats", "1", "--device", "cpu"])
    rows = [line for line in capsys.readouterr().out.splitlines() if re.match(r"\| \d", line)]
    assert [row.split("|")[1].strip() for row in rows] == ["50", "300"]
    assert rows[0].split("|")[4].strip() == "1.00"
    room = importlib.import_module("tools.made_inputs").room(4000)
    assert (room.pos.amax(0) - room.pos.amin(0)).sub(torch.tensor([0.707, 0.707, 0.354])).abs().max() < 0.05

"""The page: its data are those of the trace; in a real browser its controls and the pointer change the picture.

The browser is Chromium with its driver (Debian: chromium, chromium-driver); where there is none those tests are left
out. They take most of the time of this file.
"""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps

from pointcoc import ContextClusterNet, image_to_points
from pointcoc.viz import Exhibit, center_colors, explore_page, point_colors, trace

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
def exhibits(color_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud) -> list[Exhibit]:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 48), torch.linspace(0, 1, 70), indexing="ij")
    picture = torch.stack([rows, columns, (8 * columns).sin() ** 2], dim=2).double()
    (image,) = trace(color_net, picture.float().permute(2, 0, 1)[None], picture)
    (cloud,) = trace(cloud_net, make_cloud(300).to(dtype=torch.float32))
    return [Exhibit("</script> & co.png", image, "Random weights."), Exhibit("cloud.npy", cloud, "Random weights.")]


@pytest.fixture(scope="module")
def page(exhibits: list[Exhibit]) -> str:
    return explore_page(exhibits)


def data_of(page: str) -> dict:
    text = page.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    return json.loads(text)


def array(one: dict, name: str) -> np.ndarray:
    raw = zlib.decompress(base64.b64decode(one["blob"]))
    _, kind, offset, length = next(entry for entry in one["arrays"] if entry[0] == name)
    assert offset % 4 == 0
    return np.frombuffer(raw, "<" + kind, length, offset)


def test_data_are_those_of_the_trace(page: str, exhibits: list[Exhibit]) -> None:
    for one, exhibit in zip(data_of(page)["inputs"], exhibits, strict=True):
        assert one["name"] == exhibit.name
        for s, stage in enumerate(exhibit.trace.stages):
            sizes = one["stages"][s]
            shape = (stage.num_blocks, stage.num_heads, stage.points.num_points)
            assert (sizes["blocks"], sizes["heads"], sizes["points"]) == shape
            cluster = array(one, f"region{s}") * sizes["m"] + array(one, f"center{s}").reshape(shape)
            similarity = array(one, f"similarity{s}").reshape(shape)
            for block, head in ((0, 0), (-1, 3)):
                assert np.array_equal(cluster[block, head], stage.cluster(block, head).numpy())
                expected = stage.similarity(block, head).detach().numpy()
                assert np.abs(similarity[block, head] / 255 - expected).max() < 0.003
            colors = center_colors(stage.center_pos).numpy() * 255
            assert np.abs(array(one, f"colors{s}").reshape(-1, 3) - colors).max() <= 0.5
            np.testing.assert_allclose(array(one, f"centers{s}"), stage.center_pos.flatten().numpy())


def test_images_have_strides_and_clouds_rows(page: str, exhibits: list[Exhibit]) -> None:
    image, cloud = data_of(page)["inputs"]
    assert (image["height"], image["width"]) == (48, 70)
    assert [(stage["stride"], stage["width"]) for stage in image["stages"]] == [(2, 35), (4, 18), (8, 9)]
    for s in range(3):
        assert np.array_equal(array(cloud, f"rows{s}"), exhibits[1].trace.rows[s].numpy())
    np.testing.assert_allclose(array(cloud, "points"), exhibits[1].trace.points.pos.flatten().numpy())


def test_the_page_needs_nothing_else(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("</script>") == 2  # none of the name of an input


@pytest.fixture(scope="module")
def twenty(color_net: ContextClusterNet, cloud_net: ContextClusterNet, make_cloud) -> str:
    """A page of ten images of noise, which nothing compresses, and ten clouds, of the sizes of `pointcoc explore`."""
    noise = torch.rand(224, 224, 3, dtype=torch.float64)
    (image,) = trace(color_net, noise.float().permute(2, 0, 1)[None], noise)
    (cloud,) = trace(cloud_net, make_cloud(2048).to(dtype=torch.float32))
    return explore_page([Exhibit(f"input {i}", (image, cloud)[i % 2], f"Network {i}.") for i in range(20)])


def test_twenty_inputs_are_below_ten_megabytes(twenty: str) -> None:
    assert len(data_of(twenty)["inputs"]) == 20
    assert len(twenty.encode()) < 10_000_000


def test_what_the_page_cannot_show(image_net: ContextClusterNet) -> None:
    with pytest.raises(ValueError, match="exhibits is empty; give at least one input"):
        explore_page([])
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    mask[0, 3, 4] = False
    (holed,) = trace(image_net, image_to_points(torch.rand(1, 1, 8, 8), mask))
    with pytest.raises(ValueError, match="ink has 63 of 64 pixels; give complete images"):
        explore_page([Exhibit("ink", holed, "")])


class Browser:
    """A page in headless Chromium."""

    def __init__(self, path: Path):
        from selenium import webdriver
        from selenium.webdriver.support.ui import WebDriverWait

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1100"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        self.driver.set_network_conditions(offline=True, latency=0, throughput=0)
        self.driver.get(path.as_uri())
        WebDriverWait(self.driver, 20).until(lambda driver: driver.execute_script("return document.body.dataset.ready"))

    def run(self, script: str) -> object:
        return self.driver.execute_script(script)

    def choose(self, control: str, value: int | str) -> None:
        from selenium.webdriver.support.ui import Select, WebDriverWait

        Select(self.driver.find_element("id", control)).select_by_value(str(value))
        if control == "input":
            wait = WebDriverWait(self.driver, 10)
            wait.until(lambda driver: driver.execute_script("return item.name === data.inputs[state.input].name"))

    def picture(self) -> str:
        return str(self.run("return canvas.toDataURL()"))

    def status(self) -> str:
        return str(self.run("return document.getElementById('status').textContent"))

    def move(self, x: float, y: float) -> None:
        """Put the pointer on a place of the canvas, in pixels of the page."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.driver.find_element("id", "canvas")
        width, height = canvas.size["width"], canvas.size["height"]
        move = ActionChains(self.driver, duration=0).move_to_element_with_offset
        move(canvas, round(x - width // 2), round(y - height // 2)).perform()


@pytest.fixture(scope="module")
def browser(page: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    pytest.importorskip("selenium", reason="selenium drives the browser; it comes with the extra dev")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no Chromium with chromedriver here (Debian: apt-get install chromium chromium-driver)")
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page, encoding="utf-8")
    opened = Browser(path)
    yield opened
    opened.driver.quit()


@pytest.fixture
def fresh(browser: Browser) -> Browser:
    """The browser with the image, its first stage, the pointer away, and no complaint so far."""
    browser.run("pinned = hovered = -1; state.stage = state.block = state.head = 0;")
    browser.choose("kind", "clusters")
    browser.choose("input", 1)
    browser.choose("input", 0)
    return browser


def test_it_loads_offline_without_complaint(fresh: Browser) -> None:
    assert fresh.driver.get_log("browser") == []
    assert "stage 1, block 1, head 1" in fresh.status()
    assert fresh.run("return document.getElementById('about').textContent") == "Random weights."


@pytest.mark.parametrize("number", [0, 1])
def test_controls_change_the_picture(fresh: Browser, number: int) -> None:
    fresh.choose("input", number)
    seen = [fresh.picture()]
    for control, value in (("head", 1), ("stage", 1), ("stage", 2), ("kind", "similarity")):
        fresh.choose(control, value)
        seen.append(fresh.picture())
    assert len(set(seen)) == 5
    if number == 0:
        fresh.choose("block", 1)
        fresh.run("const o = document.getElementById('opacity'); o.value = 0; o.dispatchEvent(new Event('input'));")
        assert fresh.picture() not in seen
        fresh.run("const o = document.getElementById('opacity'); o.value = 65; o.dispatchEvent(new Event('input'));")
    assert fresh.driver.get_log("browser") == []


def test_a_pixel_under_the_pointer_lights_up_its_cluster(fresh: Browser, exhibits: list[Exhibit]) -> None:
    fresh.choose("stage", 1)
    before = fresh.picture()
    scale = float(fresh.run("return screen.scale"))
    fresh.move((41 + 0.5) * scale, (20 + 0.5) * scale)
    traced = exhibits[0].trace
    expected = int(traced.cluster(1, 0, 0)[20 * 70 + 41])
    size = int(traced.stages[1].centers(0, 0).size[expected])
    assert f"cluster {expected}: {size} points" in fresh.status()
    assert fresh.picture() != before
    lit = fresh.run(
        "const now = layer(), c = lit(now); let n = 0;"
        "for (let p = 0; p < item.width * item.height; p++) n += now.cluster(rowOf(now, p)) === c; return n;"
    )
    assert lit == int(traced.members(expected, 1, 0, 0).sum())

    fresh.choose("kind", "similarity")  # colors of the lit cluster stay, and the rest is dark
    lit_colors, low, high = fresh.run(
        "const now = layer(); const row = rowOf(now, 20 * 70 + 41); return [colorOf(now, row), now.low, now.high];"
    )
    similarity = (255 * traced.similarity(1, 0, 0)).round()
    assert [low, high] == [float(one) for one in similarity.aminmax()]
    color = colormaps["cividis"](round(255 * float((similarity[20 * 70 + 41] - low) / (high - low))))[:3]
    assert lit_colors == [round(255 * one) for one in color]


def test_the_picture_has_the_colors_of_the_clusters(fresh: Browser, exhibits: list[Exhibit]) -> None:
    fresh.choose("stage", 1)
    fresh.run("const o = document.getElementById('opacity'); o.value = 100; o.dispatchEvent(new Event('input'));")
    colors = (255 * point_colors(exhibits[0].trace, 1, 0, 0)).view(48, 70, 3)
    seen = fresh.run(
        "const s = screen.scale * (window.devicePixelRatio || 1), w = canvas.width, out = [];"
        "const all = context.getImageData(0, 0, w, canvas.height).data;"
        "for (let y = 0; y < 48; y += 5) for (let x = 0; x < 70; x += 7) {"
        "  const at = 4 * (Math.floor((y + 0.5) * s) * w + Math.floor((x + 0.5) * s));"
        "  out.push(Array.from(all.slice(at, at + 3)));"
        "}"
        "return out;"
    )
    off = (torch.tensor(seen).view(10, 10, 3) - colors[::5, ::7]).abs().amax(2)
    assert (off <= 1).double().mean() > 0.85  # the rest lies under the rings of centers
    fresh.run("const o = document.getElementById('opacity'); o.value = 65; o.dispatchEvent(new Event('input'));")


def test_twenty_inputs_open(browser: Browser, twenty: str, tmp_path: Path) -> None:
    (tmp_path / "twenty.html").write_text(twenty, encoding="utf-8")
    opened = Browser(tmp_path / "twenty.html")
    try:
        seen = []
        for i in range(20):
            opened.choose("input", i)
            assert opened.run("return document.getElementById('about').textContent") == f"Network {i}."
            seen.append(opened.picture())
        assert (seen[2], seen[3]) == (seen[0], seen[1])
        assert seen[0] != seen[1]
        assert opened.driver.get_log("browser") == []
    finally:
        opened.driver.quit()


def test_clouds_light_up_turn_and_zoom(fresh: Browser, exhibits: list[Exhibit]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    fresh.choose("input", 1)
    before = fresh.picture()
    point, x, y = fresh.run("const p = screen.at.map((a, i) => [a[2], i]).sort((a, b) => b[0] - a[0])[0][1];"
                            "return [p, screen.at[p][0], screen.at[p][1]];")  # fmt: skip
    fresh.move(x + 1, y + 1)
    cluster = int(exhibits[1].trace.cluster(0, 0, 0)[point])
    assert f"cluster {cluster}: " in fresh.status()
    lit = fresh.picture()
    assert lit != before
    canvas = fresh.driver.find_element("id", "canvas")
    ActionChains(fresh.driver, duration=0).drag_and_drop_by_offset(canvas, 80, 30).perform()
    turned = fresh.picture()
    assert fresh.run("return view.yaw") == pytest.approx(0.6 + 0.8, abs=0.03)
    fresh.run("canvas.dispatchEvent(new WheelEvent('wheel', {deltaY: -300, cancelable: true}));")
    assert fresh.run("return view.zoom") == pytest.approx(np.exp(0.3))
    assert len({before, lit, turned, fresh.picture()}) == 4
    assert fresh.driver.get_log("browser") == []

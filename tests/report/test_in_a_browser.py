"""The pages in a real browser: Chromium without a window, where there is one on the PATH."""

import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecg_lightning.report.recording_page import write_recording_page
from ecg_lightning.report.run_page import run_report
from ecg_lightning.report.runs_page import runs_report

pytestmark = pytest.mark.browser

MEASURE = """() => {
  const root = document.documentElement, all = (words) => [...document.querySelectorAll(words)];
  const shown = all("svg").filter(one => !one.closest("details")), size = one => one.getBoundingClientRect();
  return {
    overflow: root.scrollWidth - root.clientWidth,
    height: root.scrollHeight,
    headings: all("h2").length,
    svgs: shown.length,
    flat: shown.filter(one => size(one).width < 20 || size(one).height < 4).length,
    beyond: all("p, h1, h2, h3, dl, figure, svg, .scroll, .strip, .wide, nav")
      .filter(one => !one.parentElement.closest(".strip, .wide"))  // these scroll by themselves
      .filter(one => size(one).right > root.clientWidth + 1).map(one => one.outerHTML.slice(0, 80)),
    small: Math.min(...all("p, dd, td, th, li, a").map(one => parseFloat(getComputedStyle(one).fontSize))),
  };
}"""


@pytest.fixture(params=["one run", "two runs", "recording"])
def page(
    request: pytest.FixtureRequest,
    make_run: Callable[..., Path],
    make_annotated: Callable[..., Any],
    tmp_path: Path,
    browser: Any,
) -> Iterator[Any]:
    """A page from disk, whose console stays silent."""
    file = tmp_path / "report.html"
    if request.param == "recording":
        beats, strip = make_annotated("NNVVVNVNSNVNF" * 20, unusable=[[30, 40, "gap"]], start="2024-03-01T23:58:00")
        write_recording_page(beats, beats.attrs["about"], file, strip=strip)
    else:
        name = "a run with a very long name indeed"
        folders = [make_run("one", split="patient"), make_run(name, seed=1, model="seq")]
        text = run_report(folders[0]) if request.param == "one run" else runs_report(folders, output=file)
        file.write_text(text, encoding="utf-8")
    page, messages = browser.new_page(viewport={"width": 900, "height": 1200}), []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.goto(file.as_uri())
    yield page
    page.close()
    assert messages == []


def test_it_fits_a_phone_and_a_desktop(page: Any) -> None:
    for width in (360, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        found = page.evaluate(MEASURE)
        assert found["overflow"] <= 0 and found["beyond"] == [], (width, found)
        assert found["svgs"] >= 1 and found["flat"] == 0 and found["headings"] >= 2, (width, found)
        assert found["height"] > 900 and found["small"] >= 10, (width, found)


def test_it_follows_a_dark_colour_scheme(page: Any) -> None:
    means = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        pixels = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("L"), dtype=float)
        means[scheme] = pixels.mean()
        # Words stand out from what is behind them.
        assert np.abs(pixels - np.median(pixels)).max() > 120
    assert means["light"] > 200 and means["dark"] < 80, means


def test_print_is_white_with_any_colour_scheme(page: Any) -> None:
    printed = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        content = page.pdf(print_background=True)
        assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 2
        printed.append(_fills(content))
    assert sum(printed[0].values()) > 50
    assert printed[0] == printed[1]


def _fills(pdf: bytes) -> Counter[bytes]:
    """How often each colour fills something on the pages; other parts of the file differ from printing to printing."""
    fills: Counter[bytes] = Counter()
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        with suppress(zlib.error):  # a font or a picture
            fills.update(re.findall(rb"[\d.]+ [\d.]+ [\d.]+ rg", zlib.decompress(stream)))
    return fills

"""The pages in a real browser: Chromium without a window, where there is one on the PATH."""

import html
import json
import re
import shutil
import subprocess
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ecg_lightning.report.recording_page import write_recording_page
from ecg_lightning.report.run_page import run_report
from ecg_lightning.report.runs_page import runs_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions", "--hide-scrollbars",
    "--enable-logging=stderr",
)  # fmt: skip

MEASURE = """
addEventListener("load", () => setTimeout(() => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const page = frame.contentDocument;
    const shown = [...page.querySelectorAll("svg")].filter(one => !one.closest("details"));
    const size = one => one.getBoundingClientRect();
    found[frame.width] = {
      overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
      height: page.documentElement.scrollHeight,
      headings: page.querySelectorAll("h2").length,
      svgs: shown.length,
      flat: shown.filter(one => size(one).width < 20 || size(one).height < 4).length,
      beyond: [...page.querySelectorAll("p, h1, h2, h3, dl, figure, svg, .scroll, .strip, .wide, nav")]
        .filter(one => !one.parentElement.closest(".strip, .wide"))  // these scroll by themselves
        .filter(one => size(one).right > frame.clientWidth + 1).map(one => one.outerHTML.slice(0, 80)),
      small: Math.min(...[...page.querySelectorAll("p, dd, td, th, li, a")].map(
        one => parseFloat(frame.contentWindow.getComputedStyle(one).fontSize))),
    };
  }
  const answer = document.createElement("pre");
  answer.id = "found";
  answer.textContent = JSON.stringify(found);
  document.body.append(answer);
}, 200));
"""
"""Runs in a page around those that are measured, whose own policy lets nothing run."""


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run Chromium; skip the test where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        profile = tmp_path_factory.mktemp("profile")
        command = [browser, *FLAGS, f"--user-data-dir={profile}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)

    return run


@pytest.fixture(params=["one run", "two runs", "recording"])
def page(
    request: pytest.FixtureRequest, make_run: Callable[..., Path], make_annotated: Callable[..., Any], tmp_path: Path
) -> Path:
    """A page on disk."""
    if request.param == "recording":
        beats, strip = make_annotated("NNVVVNVNSNVNF" * 20, unusable=[[30, 40, "gap"]], start="2024-03-01T23:58:00")
        return write_recording_page(beats, beats.attrs["about"], tmp_path / "r1.html", strip=strip)
    folders = [make_run("one", split="patient"), make_run("a run with a very long name indeed", seed=1, model="seq")]
    file = tmp_path / "report.html"
    file.write_text(
        run_report(folders[0]) if request.param == "one run" else runs_report(folders, output=file), encoding="utf-8"
    )
    return file


@pytest.mark.browser
def test_it_fits_a_phone_and_a_desktop_without_messages_on_the_console(browse: Callable[..., Any], page: Path) -> None:
    around = page.with_name("around.html")
    source = html.escape(page.read_text(encoding="utf-8"))
    frames = "".join(f'<iframe width="{width}" height="900" srcdoc="{source}"></iframe>' for width in (360, 1280))
    around.write_text(f"<!doctype html><body>{frames}<script>{MEASURE}</script></body>", encoding="utf-8")
    ran = browse("--window-size=1800,1000", "--virtual-time-budget=5000", "--dump-dom", around.as_uri())
    found = re.search(r'<pre id="found">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found, ran.stderr[-2000:]
    for width, page_found in json.loads(html.unescape(found[1])).items():
        assert page_found["overflow"] <= 0 and page_found["beyond"] == [], (width, page_found)
        assert page_found["svgs"] >= 1 and page_found["flat"] == 0 and page_found["headings"] >= 2, (width, page_found)
        assert page_found["height"] > 900 and page_found["small"] >= 10, (width, page_found)

    ran = browse("--dump-dom", page.as_uri())
    assert "<h1>" in ran.stdout
    assert "CONSOLE" not in ran.stderr


@pytest.mark.browser
def test_it_follows_a_dark_colour_scheme(browse: Callable[..., Any], page: Path) -> None:
    means = {}
    for name, scheme in (("light", 1), ("dark", 0)):
        picture = page.with_name(f"{name}.png")
        browse(
            f"--blink-settings=preferredColorScheme={scheme}", "--window-size=900,1200", f"--screenshot={picture}",
            page.as_uri(),
        )  # fmt: skip
        pixels = np.asarray(Image.open(picture).convert("L"), dtype=float)
        means[name] = pixels.mean()
        # Words stand out from what is behind them.
        assert np.abs(pixels - np.median(pixels)).max() > 120
    assert means["light"] > 200 and means["dark"] < 80, means


@pytest.mark.browser
def test_print_is_white_with_any_colour_scheme(browse: Callable[..., Any], page: Path) -> None:
    printed = []
    for scheme in (1, 0):
        file = page.with_suffix(f".{scheme}.pdf")
        browse(f"--blink-settings=preferredColorScheme={scheme}", f"--print-to-pdf={file}", page.as_uri())
        content = file.read_bytes()
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

"""The viewer's page in a real browser: Chromium without a window, where there is one on the PATH."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import pytest
import wfdb

import ecg_lightning as ecg

sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
pytest.importorskip("fastapi", reason="the viewer needs ecg-lightning[web]")
pytestmark = pytest.mark.browser

FS, MINUTES = 250, 1.5
NARROW = ((0, 1.2, 0.012), (0.25, 0.25, 0.05), (-0.16, 0.1, 0.03))  # seconds from the R peak, mV, width in seconds
WIDE = ((0, 1.6, 0.045), (0.25, -0.5, 0.06))
HOSTILE = "<img src=x onerror=\"document.title='run'\">" + "long" * 40 + "\u202eright to left"  # name of a recording


class Viewer(NamedTuple):
    """A viewer with two recordings: ``ward/a`` and one of a hostile name."""

    address: str  # with the token
    folder: Path
    output: Path
    uploads: Path

    @property
    def origin(self) -> str:
        return self.address.partition("/?")[0]


def write_record(path: Path) -> None:
    """Two simulated leads, every eighth beat early and wide, of which the annotator calls every second V."""
    rr = np.tile([0.8, 0.8, 0.8, 0.5, 1.1, 0.8, 0.8, 0.8], round(MINUTES * 10))
    peaks = 0.5 + np.cumsum(rr)
    wide = (np.arange(len(peaks)) % 8 == 3) & (peaks < MINUTES * 60 - 1)
    peaks, wide = peaks[peaks < MINUTES * 60 - 1], wide[peaks < MINUTES * 60 - 1]
    at = np.arange(round(MINUTES * 60 * FS)) / FS
    lead = np.random.default_rng(0).normal(0, 0.01, len(at))
    for peak, is_wide in zip(peaks, wide, strict=True):
        for offset, height, scale in WIDE if is_wide else NARROW:
            lead += height * np.exp(-0.5 * ((at - peak - offset) / scale) ** 2)
    where = str(path.parent)
    wfdb.wrsamp(path.name, fs=FS, units=["mV"] * 2, sig_name=["II", "V1"], p_signal=np.stack([lead, -lead], axis=1),
                fmt=["16"] * 2, write_dir=where)  # fmt: skip
    symbols = ["V" if is_wide and number % 16 == 3 else "N" for number, is_wide in enumerate(wide)]
    wfdb.wrann(path.name, "atr", np.round(peaks * FS).astype(int), symbol=symbols, write_dir=where)


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Viewer:
    from ecg_lightning.web.recordings import Session
    from ecg_lightning.web.server import serve

    folder, output = tmp_path_factory.mktemp("recordings"), tmp_path_factory.mktemp("work") / "corrected"
    uploads = tmp_path_factory.mktemp("uploads")
    write_record(folder / "a")
    predictor = ecg.load_predictor("cnet")
    session = Session(
        {"ward/a": folder / "a", HOSTILE: folder / "a"}, partial(ecg.annotate, model=predictor),
        class_map=predictor.class_map, model="cnet", output=output,
    )  # fmt: skip
    addresses: Queue[str] = Queue()
    settings: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "opened": addresses.put}
    Thread(target=serve, args=(session, uploads), kwargs=settings, daemon=True).start()
    return Viewer(addresses.get(timeout=60), folder, output, uploads)


@pytest.fixture
def page(browser: Any, viewer: Viewer) -> Iterator[Any]:
    """The first recording, annotated and drawn; the console stays silent, and the policy is kept."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page, messages = context.new_page(), []
    page.set_default_timeout(20_000)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())  # of leaving with corrections
    page.goto(viewer.address)
    page.get_by_role("group", name="Class of the beat").get_by_role("button").first.wait_for()
    page.get_by_text("disagreement").first.wait_for()
    yield page
    context.close()
    assert [one for one in messages if "422" not in one] == []  # of what the server refuses, which the page shows


def first_second(page: Any) -> float:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return float(page.get_by_role("slider").get_attribute("aria-valuenow"))


def beat(page: Any) -> str:
    return str(page.locator("#beat").text_content())


def test_all_leads_are_drawn(page: Any) -> None:
    dark = """() => {
      const canvas = document.getElementById("ecg"), { width, height } = canvas, counts = [0, 0];
      const { data } = canvas.getContext("2d").getImageData(0, 60, width, height - 90);
      for (let at = 0; at < data.length; at += 4) {
        if (data[at + 3] > 200 && data[at] + data[at + 1] + data[at + 2] < 400) counts[at < data.length / 2 ? 0 : 1]++;
      }
      return counts;
    }"""
    sync_api.expect(page.get_by_role("application")).to_have_attribute("aria-label", re.compile("2 leads"))
    page.wait_for_function(f"() => Math.min(...({dark})()) > 500")


def test_dragging_and_keys_move_and_the_wheel_zooms(page: Any) -> None:
    ecg_box = page.locator("#ecg").bounding_box()
    x, y = ecg_box["x"] + 600, ecg_box["y"] + 200
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 500, y, steps=4)
    page.mouse.up()
    assert first_second(page) == 5, "500 pixels at 25 mm/s, where a millimetre is 96 / 25.4 pixels"
    page.keyboard.press("End")
    assert first_second(page) > 60
    page.keyboard.press("Home")
    assert first_second(page) == 0
    assert page.locator("#scale").text_content().startswith("25 mm/s")
    page.mouse.wheel(0, 200)
    first_second(page)
    assert not page.locator("#scale").text_content().startswith("25 mm/s")


def test_two_fingers_zoom(page: Any) -> None:
    fingers = page.context.new_cdp_session(page)
    for kind, apart in (("touchStart", 30), ("touchMove", 45), ("touchMove", 60), ("touchEnd", None)):
        points = [] if apart is None else [{"x": 400 + side * apart, "y": 400, "id": side} for side in (-1, 1)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    first_second(page)
    assert page.locator("#scale").text_content().startswith("50 mm/s")


def test_keys_jump_to_beats_of_a_class_and_to_disagreements(page: Any) -> None:
    page.keyboard.press("v")
    first = beat(page)
    assert first.startswith("V,") and "reference V" in first and "RR 0.50 s" in first
    page.keyboard.press("v")
    assert beat(page).startswith("V,") and beat(page) != first
    page.keyboard.press("Shift+V")
    assert beat(page) == first
    page.keyboard.press("d")
    assert "reference N" in beat(page)
    page.keyboard.press("g")
    page.keyboard.type("1:00")
    page.keyboard.press("Enter")
    assert 50 < first_second(page) < 60


def test_a_corrected_beat_is_saved_beside_and_never_over_the_original(page: Any, viewer: Viewer) -> None:
    before = {path: path.read_bytes() for path in viewer.folder.iterdir()}
    page.keyboard.press("v")
    page.keyboard.press("2")
    assert beat(page).startswith("S, model: V")
    page.keyboard.press("z")
    assert beat(page).startswith("V,") and page.locator("#badge").text_content() == ""
    page.keyboard.press("y")
    assert page.locator("#badge").text_content() == "1 correction, not saved"
    page.keyboard.press("Control+s")
    page.get_by_role("dialog").get_by_role("button", name="Save").click()
    page.get_by_text(f"Saved: {viewer.output}").wait_for()
    found = wfdb.rdann(str(viewer.output / "ward" / "a"), "atr")
    place = int(np.argmin(np.abs(found.sample / FS - 3.4)))
    assert found.symbol[place] == "S" and found.symbol.count("S") == 1
    assert {path: path.read_bytes() for path in viewer.folder.iterdir()} == before
    page.reload()
    page.get_by_text("disagreement").first.wait_for()
    assert page.locator("#badge").text_content() == ""
    page.keyboard.press("Home")
    page.keyboard.press("s")
    assert beat(page).startswith("S, model: V")


def test_a_reload_keeps_what_is_not_saved(page: Any) -> None:
    page.keyboard.press("n")
    page.keyboard.press("x")
    assert beat(page).startswith("no beat")
    page.reload()
    page.get_by_text("1 correction, not saved").wait_for()
    page.keyboard.press("n")
    assert beat(page).startswith("no beat")


def test_a_missed_beat_is_added_on_its_r_peak(page: Any) -> None:
    box = page.locator("#ecg").bounding_box()
    page.keyboard.press("n")
    page.keyboard.press("x")
    page.mouse.move(box["x"] + 200, box["y"] + 200)
    page.mouse.click(box["x"] + 173, box["y"] + 200)  # between beats
    page.keyboard.press("a")
    page.get_by_text(", added,").wait_for()
    assert page.locator("#badge").text_content() == "2 corrections, not saved"
    page.keyboard.press("3")
    assert beat(page).startswith("V, added")
    page.keyboard.press("x")
    assert page.locator("#badge").text_content() == "1 correction, not saved"


def test_events_are_listed_and_lead_to_their_place(page: Any) -> None:
    page.get_by_role("tab", name="Events").click()
    events = page.get_by_role("listbox", name="Events")
    page.get_by_label("Order of events").select_option("by time")
    events.get_by_role("option").last.click()
    assert beat(page).startswith("V,") and first_second(page) > 0
    chosen = beat(page)
    page.keyboard.press("ArrowUp")
    assert beat(page).startswith("V,") and beat(page) != chosen


@pytest.mark.parametrize("tab", ["Beats", "Rhythm", "Summary", "Report", "Recordings"])
def test_every_tab_shows_something(page: Any, tab: str) -> None:
    page.get_by_role("tab", name=tab).click()
    shown = {
        "Beats": page.get_by_role("img", name="beats of class N"),
        "Rhythm": page.locator(".uplot canvas").first,
        "Summary": page.get_by_role("row", name=re.compile("^V 1[34] ")),
        "Report": page.frame_locator("iframe").get_by_role("heading", name="Beats by class"),
        "Recordings": page.get_by_role("option", name="ward/a"),
    }
    shown[tab].wait_for()


def test_files_are_opened_by_upload_all_of_a_record_at_once(page: Any, viewer: Viewer) -> None:
    files = [viewer.folder / f"a.{end}" for end in ("hea", "dat", "atr")]
    page.get_by_label("Files of recordings").set_input_files(files)
    page.get_by_role("heading", name="uploaded/a").wait_for()
    page.get_by_text("disagreements").wait_for()
    page.keyboard.press("v")
    assert beat(page).startswith("V,")


def test_a_hostile_name_is_text_and_an_error_is_a_sentence(page: Any) -> None:
    page.get_by_role("tab", name="Recordings").click()
    page.get_by_role("option", name="<img").click()
    page.get_by_role("heading", name=HOSTILE).wait_for()
    page.get_by_text("disagreement").first.wait_for()
    name = "<img src=x onerror=document.title='run'>.edf"
    file = {"name": name, "mimeType": "", "buffer": b"no recording"}
    page.get_by_label("Files of recordings").set_input_files([file])
    page.locator("#banner.error").wait_for()
    assert page.locator("img").count() == 0 and page.title() != "run"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_path_leads_out_of_the_folders(page: Any, viewer: Viewer) -> None:
    for name in ("..%2fx.csv", "..%5cx.csv", "%2e%2e%2fx.csv", ".x.csv", "x.py"):
        assert page.request.put(f"{viewer.origin}/api/uploads/{name}", data=b"x").status >= 400
    for path in (
        "..%2f..%2f__init__.py",
        "js/..%2f..%2fserver.py",
        "%2e%2e/server.py",
        "api/recordings/0/references/..%2fa",
    ):
        assert page.request.get(f"{viewer.origin}/{path}").status >= 400
    assert not [*viewer.uploads.rglob("*x.*"), *viewer.uploads.parent.glob("*x.*")]


def test_pages_of_others_neither_read_nor_write(browser: Any, page: Any, viewer: Viewer) -> None:
    other = page.context.new_page()  # with the cookie that the viewer gave
    other.route("http://other.example/", lambda route: route.fulfill(body="other", content_type="text/html"))
    other.goto("http://other.example/")
    asked = """async ([address, how]) => {
      try {
        return await (await fetch(address, { credentials: "include", ...how })).text();
      } catch { return ""; }
    }"""
    for how in ({}, {"mode": "no-cors"}, {"method": "PUT", "body": "x"}):
        path = "uploads/x.csv" if "body" in how else "session"
        assert other.evaluate(asked, [f"{viewer.origin}/api/{path}", how]) == ""
    other.set_content(f'<iframe src="{viewer.origin}/"></iframe>')
    other.wait_for_timeout(200)
    assert [frame.locator("#ecg").count() for frame in other.frames] == [0, 0]
    assert not [*viewer.uploads.rglob("x.csv")]


def test_every_control_is_reached_by_tab_and_has_a_name(page: Any) -> None:
    controls = """() => [...document.querySelectorAll("button, select, input, a, canvas, [tabindex='0']")]
      .filter((one) => one.checkVisibility({ visibilityProperty: true }) && !one.disabled && one.tabIndex >= 0)
      .map((one) => (one.dataset.seen = one.getAttribute("aria-label") ?? one.textContent.trim()))"""
    names = page.evaluate(controls)
    assert len(names) > 20 and all(names)
    reached = set()
    for _ in range(len(names) + 3):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.seen"))
    assert reached - {None} == set(names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_texts_have_contrast(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#panel").wait_for(state="hidden")
    page.get_by_role("button", name="Details").click()
    page.get_by_role("tab", name="Summary").click()
    page.get_by_role("row", name=re.compile("^V 1[34] ")).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    colours = page.evaluate("""() => {
      const probe = document.body.appendChild(document.createElement("i"));
      const classes = [0, 1, 2, 3, 4].map((place) => `class-${place}`);
      return Object.fromEntries(["surface", "background", "ink", "muted", "accent", "warn", ...classes].map((name) => {
        probe.style.color = `var(--${name})`;
        return [name, getComputedStyle(probe).color];
      }));
    }""")
    light = {name: luminance(colour) for name, colour in colours.items()}
    for paper in (light.pop("surface"), light.pop("background")):
        for name, own in light.items():
            assert (max(own, paper) + 0.05) / (min(own, paper) + 0.05) >= 4.5, name


def luminance(colour: str) -> float:
    """Relative luminance of ``rgb(r, g, b)``, as WCAG defines it."""
    parts = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])

"""``ecg-lightning view``: what its server answers, and whom."""

import base64
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import requests
import wfdb
from numpy.testing import assert_array_equal

import ecg_lightning as ecg
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.readers.base import RecordingFile, Signal
from ecg_lightning.data.recording import Annotations
from ecg_lightning.web.corrections import Corrections, Save, corrected, save, saved
from ecg_lightning.web.signals import FACTOR, TILE, Signals

pytest.importorskip("fastapi", reason="the viewer needs ecg-lightning[web]")
FS = 250


class Viewer(NamedTuple):
    """A running viewer."""

    address: str
    token: str
    http: requests.Session  # that has opened the page
    folder: Path  # of the record "a"
    output: Path
    process: "subprocess.Popen[str]"

    def get(self, path: str, **how: Any) -> requests.Response:
        return self.http.get(f"{self.address}{path}", timeout=30, **how)


def write_record(path: Path, minutes: float = 1.0, seed: int = 0) -> Path:
    """Two simulated leads, and what somebody annotated."""
    rng = np.random.default_rng(seed)
    peaks = np.cumsum(rng.normal(0.8, 0.02, round(minutes * 90)))
    peaks = peaks[peaks < minutes * 60 - 1]
    at = np.arange(round(minutes * 60 * FS)) / FS
    lead = rng.normal(0, 0.01, len(at))
    for peak in peaks:
        for offset, height, scale in ((0, 1.2, 0.012), (0.25, 0.25, 0.05), (-0.16, 0.1, 0.03)):
            lead += height * np.exp(-0.5 * ((at - peak - offset) / scale) ** 2)
    own: dict[str, Any] = {"units": ["mV"] * 2, "sig_name": ["II", "V1"], "fmt": ["16"] * 2}
    wfdb.wrsamp(path.name, fs=FS, p_signal=np.stack([lead, -lead], axis=1), write_dir=str(path.parent), **own)
    samples = np.append(0, np.round(peaks * FS).astype(int))
    notes = ["(N", *[""] * len(peaks)]
    wfdb.wrann(path.name, "atr", samples, ["+", *"N" * len(peaks)], aux_note=notes, write_dir=str(path.parent))
    return path


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    """One of a folder with one record, which is annotated already."""
    folder, output = tmp_path_factory.mktemp("recordings"), tmp_path_factory.mktemp("work") / "corrected"
    write_record(folder / "a")
    words = ["view", str(folder), "--no-browser", "--port", "0", "--output", str(output)]
    process = subprocess.Popen([sys.executable, "-m", "ecg_lightning", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=(\S+)", process.stdout.readline())
    assert found is not None
    http = requests.Session()
    opened = Viewer(found[1], found[2], http, folder, output, process)
    assert opened.get(f"/?token={opened.token}").status_code == 200
    while (state := opened.get("/api/recordings/0").json())["annotated"] < 1:
        assert state["error"] is None
        time.sleep(0.1)
    yield opened
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0, "Ctrl-C is the way to end it"


def unpacked(column: dict[str, Any]) -> Any:
    array = np.frombuffer(base64.b64decode(column["data"]), dtype=column["type"])
    return array.reshape(column["shape"])


def test_the_page_opens_with_the_address_that_is_printed_and_loads_nothing_from_elsewhere(viewer: Viewer) -> None:
    page = viewer.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.text)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Cookie": ""}, 401),  # somebody else on this machine
        ({"Host": "rebound.example"}, 421),
        ({"Origin": "http://other.example"}, 403),
        ({"Origin": "null"}, 403),  # a page in a sandbox, or a file
    ],
)
@pytest.mark.parametrize("method", ["get", "put"])
def test_nobody_else_reads_or_writes(viewer: Viewer, headers: dict[str, str], status: int, method: str) -> None:
    http = viewer.http if "Cookie" not in headers else requests.Session()
    path = "/api/recordings/0/beats" if method == "get" else "/api/recordings/0/corrections"
    before = {file: file.stat().st_mtime_ns for file in viewer.output.glob("*")}
    answer = http.request(method, f"{viewer.address}{path}", headers=headers, json={}, timeout=10)
    assert answer.status_code == status
    assert {file: file.stat().st_mtime_ns for file in viewer.output.glob("*")} == before


def test_a_wrong_token_opens_nothing_and_the_right_one_leads_to_no_other_host(viewer: Viewer) -> None:
    assert requests.get(f"{viewer.address}/?token=guess", timeout=10).status_code == 401
    answer = requests.get(f"{viewer.address}//other.example/?token={viewer.token}", timeout=10, allow_redirects=False)
    assert answer.headers["location"] == "/other.example/"


def test_the_beats_are_those_of_annotate_and_are_matched_with_the_reference(viewer: Viewer) -> None:
    expected = ecg.annotate(viewer.folder / "a")
    answer = viewer.get("/api/recordings/0/beats").json()
    columns = {name: unpacked(column) for name, column in answer["columns"].items()}
    assert_array_equal(columns["sample"], expected["sample"])
    assert [answer["classes"][at] for at in columns["class"]] == expected["class"].tolist()
    assert columns["probabilities"].shape == (len(expected), 5)
    reference = viewer.get("/api/recordings/0/references/atr").json()
    matched = unpacked(reference["columns"]["match"])
    assert (matched >= 0).mean() > 0.9
    there = matched >= 0
    apart = columns["time_s"][matched[there]] - unpacked(reference["columns"]["time_s"])[there]
    assert np.abs(apart).max() <= 0.15
    assert [note["note"] for note in reference["notes"]] == ["(N"]


def test_tiles_show_the_recording(viewer: Viewer) -> None:
    state = viewer.get("/api/recordings/0").json()
    recorded = wfdb.rdrecord(str(viewer.folder / "a")).p_signal.T.astype(np.float32)
    first = viewer.get("/api/recordings/0/tiles/0/0")
    assert first.headers["x-whole"] == "1"
    assert_array_equal(np.frombuffer(first.content, "<f4").reshape(2, TILE), recorded[:, :TILE])
    last = viewer.get(f"/api/recordings/0/tiles/{state['levels'] - 1}/0")
    ends = np.frombuffer(last.content, "<f4").reshape(2, -1, 2)
    assert_array_equal(ends[..., 1].max(axis=1), recorded.max(axis=1))
    assert_array_equal(ends[..., 0].min(axis=1), recorded.min(axis=1))


def test_corrections_are_saved_beside_the_original_and_found_again(viewer: Viewer) -> None:
    original = {path: path.read_bytes() for path in viewer.folder.iterdir()}
    before = ecg.annotate(viewer.folder / "a")
    changes = {"classes": {"3": "V", "5": None}, "added": [[100, "S"]]}
    answer = viewer.http.put(f"{viewer.address}/api/recordings/0/corrections", json=changes, timeout=10)
    assert sorted(Path(one).name for one in answer.json()["files"]) == ["a.atr", "a.csv"]
    written = wfdb.rdann(str(viewer.output / "a"), "atr")
    beats = dict(zip(written.sample.tolist(), written.symbol, strict=True))
    assert beats[before["sample"][3]] == "V"
    assert before["sample"][5] not in beats
    assert beats[100] == "S"
    assert len(beats) == len(before)
    assert {path: path.read_bytes() for path in viewer.folder.iterdir()} == original
    assert viewer.get("/api/recordings/0/beats").json()["saved"] == changes
    again = viewer.http.put(f"{viewer.address}/api/recordings/0/corrections", json={}, timeout=10)
    assert again.status_code == 200, "its own files are replaced"
    assert viewer.get("/api/recordings/0/beats").json()["saved"] == {"classes": {}, "added": []}


def test_events_and_overlaid_beats_follow_the_corrections(viewer: Viewer) -> None:
    def ask(path: str, **changes: Any) -> Any:
        return viewer.http.post(f"{viewer.address}/api/recordings/0/{path}", json=changes, timeout=10).json()

    three = {str(place): "V" for place in (20, 21, 22)}
    triplets = [event for event in ask("events", classes=three)["events"] if event["kind"] == "triplet"]
    assert [(event["class"], event["first"], event["beats"]) for event in triplets] == [("V", 20, 3)]
    overlaid = ask("overlay/V", classes=three)
    own = ask("overlay/V")
    assert overlaid["of"] == own["of"] + 3
    assert unpacked(overlaid["columns"]["signals"]).shape == (overlaid["of"], 2, round(0.8 * FS))
    pauses = [event for event in ask("events", classes={"30": None, "31": None})["events"] if event["kind"] == "pause"]
    assert [event["first"] for event in pauses] == [29]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "recordings/7", None),
        ("GET", "recordings/first", None),
        ("GET", "recordings/0/tiles/0/100000", None),
        ("GET", "recordings/0/tiles/40/0", None),
        ("GET", "recordings/0/references/hea", None),
        ("GET", "recordings/0/references/..%2Fatr", None),
        ("POST", "recordings/0/events", {"classes": {"100000": "V"}}),
        ("POST", "recordings/0/events", {"classes": {"-1": "V"}}),
        ("POST", "recordings/0/events", {"classes": {"0": "X"}}),
        ("POST", "recordings/0/events", {"added": [[10**9, "V"]]}),
        ("POST", "recordings/0/events", {"added": [[100, "V"], [100, "V"]]}),
        ("POST", "recordings/0/events", {"beats": {}}),
        ("POST", "recordings/0/overlay/V?most=0", {}),
        ("PUT", "recordings/0/corrections", {"formats": ["exe"]}),
        ("PUT", "uploads/..", None),
        ("PUT", "uploads/..%2F..%2Fx.csv", None),
        ("PUT", "uploads/.hidden.csv", None),
        ("PUT", "uploads/program.exe", None),
        ("PUT", "uploads/a%00.csv", None),
        ("GET", "../../pyproject.toml", None),
        ("GET", "%2e%2e/%2e%2e/etc/passwd", None),
    ],
)
def test_a_wrong_request_is_refused_with_a_sentence(viewer: Viewer, method: str, path: str, body: Any) -> None:
    request = requests.Request(method, f"{viewer.address}/", json=body, cookies=viewer.http.cookies).prepare()
    request.url = f"{viewer.address}/api/{path}"  # as it is
    answer = viewer.http.send(request, timeout=10)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]


def test_files_that_are_brought_can_be_viewed_and_corrected(viewer: Viewer, tmp_path: Path) -> None:
    write_record(tmp_path / "mine", minutes=0.3, seed=1)
    for suffix in (".hea", ".dat"):
        content = (tmp_path / f"mine{suffix}").read_bytes()
        answer = viewer.http.put(f"{viewer.address}/api/uploads/mine{suffix}", data=content, timeout=10)
        assert answer.status_code == 200
    number = next(one["number"] for one in answer.json()["recordings"] if one["name"] == "uploaded/mine")
    while viewer.get(f"/api/recordings/{number}").json()["annotated"] < 1:
        time.sleep(0.1)
    answer = viewer.http.put(f"{viewer.address}/api/recordings/{number}/corrections", json={}, timeout=10)
    assert all(Path(file).is_relative_to(viewer.output) for file in answer.json()["files"])


def test_the_page_of_a_recording_is_shown_without_scripts(viewer: Viewer) -> None:
    page = viewer.get("/recordings/0/report")
    assert "sandbox" in page.headers["content-security-policy"]
    assert "Annotated recording" in page.text
    assert viewer.get("/report").status_code == 404  # weights that ship have none


def test_an_original_is_never_replaced(tmp_path: Path) -> None:
    original = write_record(tmp_path / "a", minutes=0.2).with_suffix(".atr")
    content, beats = original.read_bytes(), ecg.annotate(tmp_path / "a")
    with pytest.raises(ConfigError, match=re.escape(str(original))):
        save(beats, Save(), tmp_path, "a", annotator="atr", class_map="aami")
    assert original.read_bytes() == content
    assert not (tmp_path / "a.csv").exists()


def test_corrections_are_those_of_the_beats_and_survive_another_order_of_words(tmp_path: Path) -> None:
    beats = ecg.annotate(write_record(tmp_path / "a", minutes=0.2))
    changes = Corrections(classes={1: "F", 2: None}, added=[(7, "Q")])
    changed = corrected(beats, changes, "aami")
    assert changed["sample"].is_monotonic_increasing
    assert changed["rr_s"].to_numpy()[1:] == pytest.approx(np.diff(changed["sample"]) / FS)
    assert len(changed) == len(beats)
    save(beats, Save(**changes.model_dump()), tmp_path / "out", "a", annotator="atr", class_map="aami")
    assert saved(beats, tmp_path / "out" / "a.csv") == changes
    table = tmp_path / "out" / "a.csv"
    for other in (
        "sample,class\n1,V\n",
        '"sample","class","model_class"\nx,V,N\n',
        '"sample","class","model_class"\n-1,V,N\n',
    ):
        table.write_text(other)  # of another program, or damaged
        assert saved(beats, table) == Corrections()


class Made(RecordingFile):
    """Two leads at 100 and 200 Hz with gaps, so long that it is read in pieces."""

    def __init__(self, n_frames: int) -> None:
        rng = np.random.default_rng(0)
        self.path, self.name, self.lead_names = Path("made"), "made", ("a", "b")
        self.frame_rate, self.samples_per_frame, self.n_frames = 100.0, (1, 2), n_frames
        self.parts = [rng.normal(size=n_frames), rng.normal(size=2 * n_frames)]
        self.parts[0][1000:3000] = np.nan

    def read_frames(self, positions: Sequence[int], start: int, stop: int) -> list[Signal]:
        return [self.parts[at][start * (at + 1) : stop * (at + 1)] for at in positions]

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        raise NotImplementedError


def test_every_zoom_has_the_lowest_and_highest_of_its_samples() -> None:
    file = Made(150_001)
    signals = Signals(file)
    assert signals.tile(signals.n_levels - 1, 0)[1] is False, "nothing is read yet"
    signals.fill()
    whole = np.stack([np.repeat(file.parts[0], 2), file.parts[1]]).astype(np.float32)
    for level in range(1, signals.n_levels):
        size = FACTOR**level
        tiles = [signals.tile(level, index) for index in range(-(-signals.n // (TILE * size)))]
        assert all(is_whole for _, is_whole in tiles)
        found = np.concatenate([blocks for blocks, _ in tiles], axis=1)
        padded = np.pad(whole, ((0, 0), (0, -signals.n % size)), constant_values=np.nan).reshape(2, -1, size)
        assert_array_equal(found[..., 0], np.fmin.reduce(padded, axis=2))
        assert_array_equal(found[..., 1], np.fmax.reduce(padded, axis=2))
    assert_array_equal(np.concatenate([signals.tile(0, at)[0] for at in range(-(-signals.n // TILE))], axis=1)[..., 0],
                       whole)  # fmt: skip

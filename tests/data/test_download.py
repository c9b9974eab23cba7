"""Fetching real data, against a small PhysioNet look-alike on this machine."""

import hashlib
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import wfdb
from rich.filesize import decimal
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core import progress
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data import http as fetch_module
from ecg_lightning.data.databases.card import About, Published, PublishedClass
from ecg_lightning.data.download import fetch
from ecg_lightning.data.verify import check
from ecg_lightning.pipeline.cards import load_cards, source_of

RECORDS = ("100", "101", "102")
KAGGLE = ("mitbih_train.csv", "mitbih_test.csv")
CARDS = load_cards()
MITBIH = CARDS["mitbih"]
KAGGLE_CARD = CARDS["kaggle_mitbih"]
TWO_BEATS = KAGGLE_CARD.model_copy(
    update={"about": About(published=Published(classes={"N": PublishedClass(beats=1), "S": PublishedClass(beats=1)}))}
)


class Server(ThreadingHTTPServer):
    """Serves a folder on 127.0.0.1, remembers what was asked for, and can be told to misbehave."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.asked: list[tuple[str, str | None]] = []
        self.cut_once: dict[str, int] = {}
        self.stall_once: dict[str, int] = {}
        self.go_on = threading.Event()
        self.busy_once: set[str] = set()

    def asked_for(self, name: str) -> list[str | None]:
        """The Range header of every request for a file."""
        return [byte_range for path, byte_range in self.asked if path == name]

    def data_requests(self) -> list[str]:
        return [path for path, _ in self.asked if path not in ("RECORDS", "SHA256SUMS.txt")]


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        byte_range = self.headers.get("Range")
        self.server.asked.append((name, byte_range))
        path = self.server.folder / name
        if name in self.server.busy_once:
            self.server.busy_once.remove(name)
            self.send_error(503)
        elif not path.is_file():
            self.send_error(404)
        else:
            cut, stall = self.server.cut_once.pop(name, None), self.server.stall_once.pop(name, None)
            self._send(path.read_bytes(), byte_range, cut, stall)

    def do_HEAD(self) -> None:
        path = self.server.folder / self.path.lstrip("/")
        self.send_response(200 if path.is_file() else 404)
        self.send_header("Content-Length", str(path.stat().st_size if path.is_file() else 0))
        self.end_headers()

    def _send(self, content: bytes, byte_range: str | None, cut: int | None, stall: int | None) -> None:
        start = int(byte_range.removeprefix("bytes=").rstrip("-")) if byte_range else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if stall is not None:
            self.wfile.write(content[start:stall])
            self.server.go_on.wait(20)
            return
        self.wfile.write(content[start:cut])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of three records with checksums, laid out as PhysioNet does, and a file nobody needs."""
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    for record in RECORDS:
        signal = rng.normal(size=(36_000, 2)).cumsum(axis=0) / 100
        wfdb.wrsamp(
            record, fs=360, units=["mV"] * 2, sig_name=["MLII", "V1"], p_signal=signal, fmt=["212"] * 2,
            write_dir=str(folder),
        )  # fmt: skip
        wfdb.wrann(record, "atr", np.arange(180, 36_000, 300), symbol=["N"] * 120, write_dir=str(folder))
    (folder / "100.xws").write_text("a file that no reader needs")
    _write_sums(folder)
    (folder / "RECORDS").write_text("\n".join(RECORDS) + "\n")
    return folder


def _write_sums(folder: Path) -> None:
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS.txt").write_text("".join(lines))


@pytest.fixture
def server(published: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch_module, "BACKOFF_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server(published)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_everything_a_reader_needs_arrives_as_published(server: Server, published: Path, tmp_path: Path) -> None:
    done = fetch(MITBIH, tmp_path, url=server.url)

    expected = {f"{record}{extension}" for record in RECORDS for extension in (".hea", ".dat", ".atr")}
    assert _names(tmp_path / "mitdb") == expected | {"RECORDS"}
    assert all((tmp_path / "mitdb" / name).read_bytes() == (published / name).read_bytes() for name in expected)
    assert (done.downloaded, done.kept) == (9, 0)
    result = check(source_of(MITBIH, tmp_path))
    assert result.present and not result.problems
    assert {count.what: count.found for count in result.counts}["N beats"] == 360


def test_a_second_run_downloads_nothing_again(server: Server, tmp_path: Path) -> None:
    fetch(MITBIH, tmp_path, url=server.url)
    server.asked.clear()
    done = fetch(MITBIH, tmp_path, url=server.url)
    assert server.data_requests() == []
    assert (done.downloaded, done.kept) == (0, 9)


def test_a_damaged_file_is_replaced_and_the_rest_stays(server: Server, published: Path, tmp_path: Path) -> None:
    fetch(MITBIH, tmp_path, url=server.url)
    server.asked.clear()
    (tmp_path / "mitdb" / "101.dat").write_bytes(b"damaged")
    fetch(MITBIH, tmp_path, url=server.url)
    assert server.data_requests() == ["101.dat"]
    assert (tmp_path / "mitdb" / "101.dat").read_bytes() == (published / "101.dat").read_bytes()


def test_an_interrupted_file_goes_on_where_it_stopped(server: Server, published: Path, tmp_path: Path) -> None:
    (tmp_path / "mitdb").mkdir()
    whole = (published / "100.dat").read_bytes()
    (tmp_path / "mitdb" / "100.dat.partial").write_bytes(whole[:70_000])
    fetch(MITBIH, tmp_path, url=server.url)
    assert server.asked_for("100.dat") == ["bytes=70000-"]
    assert (tmp_path / "mitdb" / "100.dat").read_bytes() == whole
    assert not list((tmp_path / "mitdb").glob("*.partial"))


@pytest.mark.parametrize("left", [b"x" * 70_000, b"x" * 500_000], ids=["other bytes", "too many bytes"])
def test_a_leftover_of_something_else_is_not_resumed(
    server: Server, published: Path, tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "mitdb").mkdir()
    (tmp_path / "mitdb" / "100.dat.partial").write_bytes(left)
    fetch(MITBIH, tmp_path, url=server.url)
    assert (tmp_path / "mitdb" / "100.dat").read_bytes() == (published / "100.dat").read_bytes()


def test_a_connection_that_breaks_off_is_resumed_at_once(server: Server, published: Path, tmp_path: Path) -> None:
    server.cut_once["100.dat"] = 80_000
    server.busy_once.add("101.dat")
    fetch(MITBIH, tmp_path, url=server.url)
    first, second = server.asked_for("100.dat")
    assert first is None and second is not None
    assert 0 < int(second.removeprefix("bytes=").rstrip("-")) <= 80_000
    assert len(server.asked_for("101.dat")) == 2
    assert (tmp_path / "mitdb" / "100.dat").read_bytes() == (published / "100.dat").read_bytes()


def test_a_file_other_than_published_is_refused(server: Server, published: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in published.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    (changed / "101.dat").write_bytes(b"not what the checksum says")
    server.folder = changed
    with pytest.raises(DataError, match=r"101\.dat has SHA-256 .* published is"):
        fetch(MITBIH, tmp_path / "data", url=server.url)
    assert not {"101.dat", "101.dat.partial"} & _names(tmp_path / "data" / "mitdb")


def test_only_the_records_asked_for_are_fetched_and_listed(server: Server, tmp_path: Path) -> None:
    fetch(MITBIH, tmp_path, url=server.url, records=["102"])
    assert _names(tmp_path / "mitdb") == {"RECORDS", "102.hea", "102.dat", "102.atr"}
    assert (tmp_path / "mitdb" / "RECORDS").read_text().split() == ["102"]

    fetch(MITBIH, tmp_path, url=server.url, records=["100"])
    assert (tmp_path / "mitdb" / "RECORDS").read_text().split() == ["100", "102"]

    with pytest.raises(ConfigError, match=r"no record 999; its 3 records are 100"):
        fetch(MITBIH, tmp_path, url=server.url, records=["999"])


def test_a_fetch_that_failed_midway_is_seen_to_be_incomplete(server: Server, published: Path, tmp_path: Path) -> None:
    server.folder = tmp_path / "without"
    server.folder.mkdir()
    for path in published.iterdir():
        if path.name != "102.atr":
            (server.folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"102\.atr is not there \(HTTP 404\)"):
        fetch(MITBIH, tmp_path, url=server.url, connections=1)
    problems = check(source_of(MITBIH, tmp_path)).problems
    assert any("102.atr is not there" in problem for problem in problems)


def test_patients_keep_their_folders(server: Server, published: Path, tmp_path: Path) -> None:
    """PTB's patient is the folder of its record; without it no split by patient is possible."""
    server.folder = tmp_path / "ptb"
    patient = server.folder / "patient001"
    patient.mkdir(parents=True)
    sums = ""
    for extension in (".hea", ".dat", ".xyz"):
        (patient / f"s0010_re{extension}").write_bytes(extension.encode())
        sums += f"{hashlib.sha256(extension.encode()).hexdigest()}  patient001/s0010_re{extension}\n"
    (server.folder / "SHA256SUMS.txt").write_text(sums)
    (server.folder / "RECORDS").write_text("patient001/s0010_re\n")
    fetch(CARDS["ptbdb"], tmp_path, url=server.url)
    assert _names(tmp_path / "ptbdb" / "patient001") == {"s0010_re.hea", "s0010_re.dat", "s0010_re.xyz"}


def test_a_listing_cannot_write_outside_its_folder(server: Server, tmp_path: Path) -> None:
    server.folder = tmp_path / "hostile"
    server.folder.mkdir()
    (server.folder / "SHA256SUMS.txt").write_text("")
    (server.folder / "RECORDS").write_text("../../escaped\n")
    with pytest.raises(DataError, match="no name of a record"):
        fetch(MITBIH, tmp_path, url=server.url)


def test_a_log_gets_bytes_and_files_and_no_control_characters(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds in {"SHORT_S": 0, "REFRESH_S": 0.001, "LINE_S": 0.001}.items():
        monkeypatch.setattr(f"ecg_lightning.core.progress.{name}", seconds)
    with progress.showing():
        done = fetch(MITBIH, tmp_path, url=server.url)
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"mitdb: {decimal(done.size)} in ")
    assert "\x1b" not in "".join(lines)


def test_a_file_that_cannot_be_written_is_one_error_and_nothing_looks_whole(server: Server, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot write .*\.dat: .*limit on the size of files"):
            fetch(MITBIH, tmp_path, url=server.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "mitdb").glob("*.dat"))
    done = fetch(MITBIH, tmp_path, url=server.url)
    assert done.downloaded + done.kept == 9


def test_a_folder_that_cannot_be_made_is_one_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose another folder with --data-dir"):
        fetch(MITBIH, tmp_path / "file", url=server.url)


def test_a_server_that_is_down_is_one_sentence_not_a_traceback(server: Server, tmp_path: Path) -> None:
    server.server_close()
    run = CliRunner().invoke(app, ["data", "fetch", "mitdb", "--data-dir", str(tmp_path), "--url", server.url])
    assert run.exit_code == 2
    assert len(run.stderr.splitlines()) == 1
    assert run.stderr.startswith(f"error: {server.url}SHA256SUMS.txt cannot be downloaded: no connection")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_what_is_there_for_the_next_run(server: Server, published: Path, tmp_path: Path) -> None:
    server.stall_once["100.dat"] = 80_000
    command = [sys.executable, "-c", "from ecg_lightning.cli.main import main; main()", "data", "fetch", "mitdb"]
    process = subprocess.Popen(
        [*command, "--url", server.url, "--data-dir", str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs deaf to Ctrl-C, and these tests may be in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    partial = tmp_path / "mitdb" / "100.dat.partial"
    deadline = time.monotonic() + 300
    while not (partial.is_file() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    said = ""
    while "to resume" not in said and (line := process.stderr.readline()):
        said += line
    server.go_on.set()
    said += process.communicate(timeout=300)[1]

    assert process.returncode == 130
    assert "Traceback" not in said
    assert said.splitlines()[-1].startswith("interrupted") and "run the same command again to resume" in said
    begun = partial.stat().st_size
    assert begun
    fetch(MITBIH, tmp_path, url=server.url)
    assert server.asked_for("100.dat") == [None, f"bytes={begun}-"]
    assert (tmp_path / "mitdb" / "100.dat").read_bytes() == (published / "100.dat").read_bytes()


@pytest.fixture
def csv_files(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in KAGGLE:
        (folder / name).write_text(f"0.5,0.25,{name}\n")
    return folder


@pytest.mark.parametrize("checksums", [True, False])
def test_the_kaggle_files_from_a_mirror(server: Server, csv_files: Path, tmp_path: Path, checksums: bool) -> None:
    """Clusters without Kaggle accounts keep a mirror; it may or may not publish checksums."""
    if checksums:
        _write_sums(csv_files)
    server.folder = csv_files
    assert fetch(TWO_BEATS, tmp_path, url=server.url).downloaded == 2
    assert (tmp_path / "heartbeat" / "mitbih_test.csv").read_text() == "0.5,0.25,mitbih_test.csv\n"
    (tmp_path / "heartbeat" / "mitbih_train.csv").write_text("0.5")
    again = fetch(TWO_BEATS, tmp_path, url=server.url)
    assert (again.downloaded, again.kept) == (1, 1)


def test_the_kaggle_files_through_kagglehub(csv_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = ModuleType("kagglehub")
    hub.dataset_download = lambda handle: str(csv_files) if handle == "shayanfazeli/heartbeat" else ""  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", hub)
    assert fetch(TWO_BEATS, tmp_path).downloaded == 2
    assert _names(tmp_path / "heartbeat") == set(KAGGLE)
    assert fetch(TWO_BEATS, tmp_path).kept == 2


def test_without_kagglehub_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    with pytest.raises(DataError, match=r"pip install 'ecg-lightning\[kaggle\]'"):
        fetch(KAGGLE_CARD, tmp_path)


def test_records_of_a_dataset_without_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kaggle_mitbih has no records"):
        fetch(KAGGLE_CARD, tmp_path, records=["100"])


def test_only_what_a_card_uses_is_fetched_with_its_tables(server: Server, published: Path, tmp_path: Path) -> None:
    """As of PTB-XL, which is there at 500 and at 100 Hz, and whose people are in a table."""
    server.folder = tmp_path / "published"
    server.folder.mkdir()
    for path in published.iterdir():
        (server.folder / path.name).write_bytes(path.read_bytes())
    (server.folder / "people.csv").write_text("record,patient\n100,7\n")
    _write_sums(server.folder)
    download = MITBIH.download.model_copy(update={"files": ["people.csv"]})  # type: ignore[union-attr]
    fetch(MITBIH.model_copy(update={"records": "10[02]", "download": download}), tmp_path, url=server.url)
    got = {f"{record}{extension}" for record in ("100", "102") for extension in (".hea", ".dat", ".atr")}
    assert _names(tmp_path / "mitdb") == got | {"people.csv", "RECORDS"}
    assert (tmp_path / "mitdb" / "RECORDS").read_text().split() == ["100", "102"]


@pytest.mark.parametrize(("name", "folder"), [("mitbih", "mitdb"), ("mitdb", "mitdb")])
def test_a_database_is_fetched_by_its_name_or_that_of_its_folder(
    server: Server, tmp_path: Path, name: str, folder: str
) -> None:
    """Scripts of earlier versions say mitdb and heartbeat."""
    run = CliRunner().invoke(app, ["data", "fetch", name, "--data-dir", str(tmp_path), "--url", server.url])
    assert run.exit_code == 0, run.stderr
    assert "102.atr" in _names(tmp_path / folder)


def test_an_unknown_database_is_answered_with_those_that_can_be_fetched() -> None:
    run = CliRunner().invoke(app, ["data", "fetch", "mitbhi"])
    assert run.exit_code == 2
    assert "there is no database 'mitbhi' to fetch" in run.stderr and "mitbih (100 MB)" in run.stderr
    assert "synthetic" not in run.stderr


def test_a_card_of_ones_own_can_be_fetched(server: Server, tmp_path: Path) -> None:
    card = tmp_path / "conf" / "dataset" / "clinic.yaml"
    card.parent.mkdir(parents=True)
    card.write_text(
        "defaults: [_database, _self_]\nname: clinic\nannotator: atr\nclass_map: aami\n"
        f"download: {{url: '{server.url}', extensions: [.hea, .dat, .atr]}}\n"
    )
    where = ["--data-dir", str(tmp_path), "--config-dir", str(tmp_path / "conf")]
    assert CliRunner().invoke(app, ["data", "fetch", "clinic", *where]).exit_code == 0
    assert CliRunner().invoke(app, ["data", "check", "clinic", *where]).exit_code == 0


def test_recordings_without_a_download_are_to_be_put_into_their_folder(tmp_path: Path) -> None:
    card = MITBIH.model_copy(update={"download": None, "folder": "clinic"})
    with pytest.raises(ConfigError, match=rf"names no download; put its files into {tmp_path / 'clinic'}"):
        fetch(card, tmp_path)

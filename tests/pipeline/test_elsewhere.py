"""Testing a network on databases that it has never seen: through cards of a user's own, or a folder without one."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb
from typer.testing import CliRunner

from ecg_lightning.cli.main import app
from ecg_lightning.core.errors import ConfigError, DataError
from ecg_lightning.data.rpeaks import RPeaks
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate, evaluate_on
from ecg_lightning.pipeline.train import fit_and_test, train
from ecg_lightning.runs.schema import RunRecord

FS = 200  # the checkpoint's beats are at 125 Hz
RECORDS = [f"p{number:02d}" for number in range(12)]
CYCLE = "NNNANNVNNNR"  # symbols of a record's beats, one after the other
CARD = """\
defaults: [_database, _self_]
name: {name}
title: The clinic
folder: {folder}
annotator: {annotator}
class_map: {class_map}
patients: {patients}
leads: [0]
"""
SMALL = [
    "dataset.simulation.patients=8", "dataset.simulation.minutes=1", "trainer=cpu", "trainer.max_epochs=1",
    "report=none",
]  # fmt: skip


def write_record(folder: Path, name: str, symbols: str = CYCLE, annotator: str = "atr") -> None:
    """Half a minute of two leads with beats of the symbols, about one a second."""
    random = np.random.default_rng(RECORDS.index(name))
    peaks = FS + np.arange(30) * FS + random.integers(-20, 20, 30)
    time = np.arange(32 * FS)[:, None]
    width = np.where(np.arange(30) % len(CYCLE) == 6, 16, 4)  # V is wide
    signal = np.exp(-(((time - peaks) / width) ** 2)).sum(axis=1) + 0.01 * random.normal(size=len(time))
    folder.mkdir(exist_ok=True)
    wfdb.wrsamp(
        name, FS, ["mV", "mV"], ["II", "V5"], np.stack([signal, -0.5 * signal], axis=1), fmt=["16", "16"],
        write_dir=str(folder),
    )  # fmt: skip
    cycled = [symbols[at % len(symbols)] for at in range(30)]
    wfdb.wrann(name, annotator, peaks, cycled, write_dir=str(folder))


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, and beside it, in ``cards``, what cards state of it."""
    root = tmp_path_factory.mktemp("clinic")
    for name in RECORDS:
        write_record(root / "recordings", name)
    (root / "cards" / "dataset").mkdir(parents=True)
    usual = {"folder": root / "recordings", "annotator": "atr", "class_map": "aami", "patients": "record"}
    for name, changes in {
        "clinic": {},
        "again": {"patients": "{database: clinic}"},
        "named": {"class_map": "{N: N, S: A, ventricular: V, R: R}"},
        "gone": {"folder": root / "moved"},
    }.items():
        (root / "cards" / "dataset" / f"{name}.yaml").write_text(CARD.format(name=name, **usual | changes))
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that has learnt from simulated beats, for moments."""
    folder = tmp_path_factory.mktemp("run")
    cache = tmp_path_factory.mktemp("cache")
    train(compose(["dataset=synthetic", *SMALL, f"cache_dir={cache}"], output_dir=folder))
    return folder


@pytest.fixture
def places(clinic: Path, tmp_path: Path) -> dict[str, Any]:
    return {"config_dir": clinic / "cards", "data_dir": tmp_path, "cache_dir": tmp_path / "cache", "device": "cpu"}


def test_beats_of_another_rate_are_cut_as_the_checkpoint_demands(run: Path, places: dict[str, Any]) -> None:
    found = evaluate(run, on="clinic", **places)
    assert (found.kind, found.dataset, found.trained_on, found.title) == (
        "evaluation", "clinic", "synthetic", "The clinic",
    )  # fmt: skip
    # The last beat of a recording has no end.
    assert found.n_tested == sum(map(sum, found.test["confusion"])) == 12 * 29
    assert found.classes == ("N", "S", "V", "F", "Q") and found.absent == ["F", "Q"]
    assert found.test["ec57"]["V"]["tp"] + found.test["ec57"]["V"]["fn"] == found.test["per_class"]["V"]["support"] > 0
    assert (found.test["intervals"]["resampled"], found.test["intervals"]["n_resampled"]) == ("patients", 12)
    assert found.warning is None


def test_other_leads_can_be_chosen_and_an_absent_one_is_said(run: Path, places: dict[str, Any]) -> None:
    by_place, by_name = (evaluate(run, on="clinic", leads=leads, **places) for leads in ([1], ["V5"]))
    assert by_place.test == by_name.test
    assert by_place.test != evaluate(run, on="clinic", **places).test
    with pytest.raises((ConfigError, DataError), match=r"no lead 'aVF'; it has II, V5.*--leads"):
        evaluate(run, on="clinic", leads=["aVF"], **places)


def test_classes_are_matched_by_name_and_others_are_left_out_and_counted(
    run: Path, places: dict[str, Any], tmp_path: Path
) -> None:
    found = evaluate(run, on="named", output_dir=tmp_path / "out", **places)
    n = {"ventricular": 12 * 3, "R": 12 * 2}  # at the places 6, 17, 28 and 10, 21 of 29
    assert found.dropped["of classes unknown to the model"] == n
    assert found.n_tested == 12 * 29 - sum(n.values())
    assert found.absent == ["V", "F", "Q"]
    assert RunRecord.read(tmp_path / "out" / "scores.json") == found


def test_a_database_of_another_task_is_refused(run: Path, places: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ptbxl is for task mi, not for task=arrhythmia"):
        evaluate(run, on="ptbxl", **places)


def test_a_folder_of_recordings_needs_no_card(
    run: Path, clinic: Path, places: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = evaluate_on(run, [str(clinic / "recordings")], **places)["recordings"]
    assert found.test["confusion"] == evaluate(run, on="clinic", **places).test["confusion"]
    assert found.test["intervals"]["resampled"] == "beats"  # nobody has said who these people are
    assert len(caplog.records) == 1
    write_record(tmp_path / "other", "p00", annotator="ecg")
    assert evaluate(run, on=str(tmp_path / "other"), **places).n_tested == 29
    write_record(tmp_path / "two", "p00", annotator="ecg")
    write_record(tmp_path / "two", "p00", annotator="qrs")
    evaluate(run, on=str(tmp_path / "two"), **places)
    assert re.search("annotator (ecg|qrs), class_map aami, patients None", caplog.text)


def test_a_card_goes_before_a_folder_of_the_same_name(
    run: Path, places: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clinic").mkdir()
    monkeypatch.chdir(tmp_path)
    assert evaluate(run, on="clinic", **places).title == "The clinic"


def test_the_split_of_another_database_may_be_in_the_folder_of_its_card(
    run: Path, clinic: Path, places: dict[str, Any]
) -> None:
    (clinic / "cards" / "split").mkdir(exist_ok=True)
    lists = "defaults: [ds1_ds2, _self_]\nname: own\ntrain: ['p0?']\ntest: ['p1?']\nleft_out: null\n"
    (clinic / "cards" / "split" / "own.yaml").write_text(lists)
    assert evaluate(run, on="clinic:own", **places).n_tested == 2 * 29


@pytest.mark.parametrize("choice", [{"seed": 1}, {"fold": "validation"}])
def test_all_beats_of_a_database_have_neither_seed_nor_fold(
    choice: dict[str, Any], run: Path, places: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=r"all beats of clinic are tested.*add a split"):
        evaluate(run, on="clinic", **choice, **places)
    assert evaluate(run, on="clinic", split="patient", **choice, **places).protocol.name == "patient"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("gone", "moved"),
        ("nowhere", "nowhere"),
        ("clinic", "different names"),
        ("", "name of a database"),
        ("clinic:nosplit", "nosplit"),
    ],
)
def test_what_is_wrong_with_a_later_database_is_said_before_the_first_is_tested(
    second: str, message: str, run: Path, places: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        evaluate_on(run, ["clinic", second], output_dir=tmp_path / "out", **places)
    assert not (tmp_path / "out").exists()


def test_a_database_of_test_on_that_is_not_there_stops_a_run_before_it_trains(tmp_path: Path) -> None:
    settings = ["dataset=synthetic", *SMALL, f"cache_dir={tmp_path}", "test_on=[svdb]", f"data_dir={tmp_path}"]
    experiment = build(compose(settings, output_dir=tmp_path / "run"))
    with pytest.raises(DataError, match=r"svdb.*data fetch"):
        fit_and_test(experiment)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_only_people_who_were_trained_on_make_a_warning(clinic: Path, places: dict[str, Any], tmp_path: Path) -> None:
    settings = ["dataset=clinic", "model=majority", "split=patient", "report=none", f"data_dir={tmp_path}"]
    settings += [f"cache_dir={places['cache_dir']}", "trainer=cpu"]
    train(compose(settings, output_dir=tmp_path / "run", config_dir=clinic / "cards"))
    # The same people under another name: with the same split only those whom the run has not seen are tested.
    assert evaluate(tmp_path / "run", on="again:patient", **places).warning is None
    for name in ("again", "clinic"):
        assert "trained on" in str(evaluate(tmp_path / "run", on=name, **places).warning)


def test_symbols_become_classes_as_in_training_on_several_databases_too(
    clinic: Path, places: dict[str, Any], tmp_path: Path
) -> None:
    settings = ["dataset=clinic", "dataset.class_map=aami_escape_s", "model=majority", "split=patient", "report=none"]
    settings += [f"data_dir={tmp_path}", f"cache_dir={places['cache_dir']}", "trainer=cpu"]
    train(compose(settings, output_dir=tmp_path / "run", config_dir=clinic / "cards"))
    (clinic / "cards" / "dataset" / "joined.yaml").write_text(
        "defaults:\n  - _several\n  - clinic@cards.clinic\n  - again@cards.again\n  - _self_\n"
        "name: joined\ntitle: Both\n"
    )
    home = RunRecord.read(tmp_path / "run" / "scores.json")
    for name in ("clinic", "joined"):
        assert evaluate(tmp_path / "run", on=name, **places).class_map == home.class_map, name


def test_the_command_sets_home_and_away_side_by_side(run: Path, clinic: Path, tmp_path: Path) -> None:
    options = [f"--data-dir={tmp_path}", f"--cache-dir={tmp_path / 'cache'}", f"--config-dir={clinic / 'cards'}"]
    options += ["--on=clinic,clinic:patient", "--on=named", f"--output={run / 'on'}", "--device=cpu"]
    printed = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["evaluate", str(run), *options])
    assert printed.exit_code == 0, printed.output
    assert sorted(path.parent.name for path in (run / "on").glob("*/scores.json")) == [
        "clinic", "clinic-patient", "named",
    ]  # fmt: skip
    home = RunRecord.read(run / "scores.json")
    for words in (f"{100 * home.test['macro_f1']:.2f}", "No beats of F, Q", "ventricular 36", "clinic, patient"):
        assert words in " ".join(printed.stdout.split()), words
    page = (run / "on" / "report.html").read_text()
    assert "points" in page and "F1 of class V" in page and "ventricular 36" in page

    # The commands for runs find them where they are.
    table = CliRunner().invoke(app, ["table", str(run), "--format", "csv", "--only-run"])
    assert {"synthetic", "clinic", "named"} == {line.split(",")[1] for line in table.stdout.splitlines()[1:]}
    assert CliRunner().invoke(app, ["report", str(run), "--brief"]).exit_code == 0
    assert 'id="elsewhere"' in (run / "report.html").read_text()


@pytest.mark.parametrize("leads", ["V5", '{"a": 1}', "[1"])
def test_leads_that_are_no_list_are_refused_with_an_example(leads: str, run: Path) -> None:
    printed = CliRunner().invoke(app, ["evaluate", str(run), "--on", "svdb", "--leads", leads])
    assert printed.exit_code == 2 and "expected a list" in printed.stderr


@pytest.mark.real_data("svdb/RECORDS")
def test_real_recordings_of_another_database_and_their_absent_lead(
    run: Path, real_data_dir: Path, tmp_path: Path
) -> None:
    """Four records of the Supraventricular Arrhythmia Database, as a folder."""
    folder = tmp_path / "four"
    folder.mkdir()
    for name in ("800", "801", "802", "803"):
        for file in (real_data_dir / "svdb").glob(f"{name}.*"):
            (folder / file.name).symlink_to(file)
    found = evaluate(run, on=str(folder), cache_dir=tmp_path, device="cpu")
    assert found.n_tested == sum(one["support"] for one in found.test["per_class"].values()) > 7000
    assert json.loads(found.model_dump_json())["dataset"] == "four"


def test_detected_beats_are_matched_with_the_annotated_ones(run: Path, places: dict[str, Any], tmp_path: Path) -> None:
    given = evaluate(run, on="clinic", **places)
    found = evaluate(run, on="clinic", detector="xqrs", output_dir=tmp_path / "out", **places)
    assert (given.beats, given.detector, given.matched) == ("beats given", None, None)
    assert found.beats == "beats detected (xqrs), scored on those that match an annotated one"
    assert found.tested_on == "clinic, peaks by xqrs"
    matched: Any = found.matched
    qrs, matrix = matched["QRS"], matched["matrix"]
    # Of all annotated beats, the last of a recording too.
    assert qrs["tp"] + qrs["fn"] == 12 * 30 == sum(sum(matrix[name].values()) for name in "NSVFQ")
    assert qrs["sensitivity"] > 0.8
    assert qrs["tp"] - 12 <= found.n_tested <= qrs["tp"]
    assert matched["given"] == given.test["ec57"]
    assert [one["record"] for one in matched["per_record"]] == RECORDS
    assert RunRecord.read(tmp_path / "out" / "scores.json") == found


def test_r_peaks_detected_at_the_annotated_places_give_the_same_scores(
    run: Path, places: dict[str, Any], clinic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(RECORDS)

    def annotated(signals: Any, fs: float, *, detector: str) -> RPeaks:
        samples = wfdb.rdann(str(clinic / "recordings" / next(names)), "atr").sample.astype(np.int64)
        return RPeaks(samples, np.ones(len(samples), dtype=np.float32))

    given = evaluate(run, on="clinic", **places)
    monkeypatch.setattr("ecg_lightning.pipeline.detected.detect_r_peaks", annotated)
    found = evaluate(run, on="clinic", detector="network", **places)
    assert found.test == given.test
    # The last beat of a recording, an N, cannot be cut: it is of the unknown.
    matched: Any = found.matched
    for name in ("V", "S"):
        assert [matched[name][key] for key in ("tp", "fn", "fp")] == [
            given.test["ec57"][name][key] for key in ("tp", "fn", "fp")
        ]
    assert matched["matrix"]["N"]["Q"] == given.test["confusion"][0][4] + 12


def test_what_has_no_recordings_of_annotated_beats_cannot_be_tested_on_detected_ones(
    run: Path, places: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="synthetic is not one database of recordings"):
        evaluate(run, detector="xqrs", **{**places, "config_dir": None})
    with pytest.raises(ConfigError, match=r"there is no detector 'eye'; choose one of network, sleepecg, xqrs"):
        evaluate(run, on="clinic", detector="eye", **places)
    with pytest.raises(ConfigError, match="this split has beats of each in all folds"):
        evaluate(run, on="clinic:random", detector="xqrs", **places)


def test_the_command_prints_the_three_scores_and_writes_them_on_the_page(
    run: Path, places: dict[str, Any], tmp_path: Path
) -> None:
    where = [f"--{name.replace('_', '-')}={places[name]}" for name in ("config_dir", "data_dir", "cache_dir")]
    words = ["evaluate", str(run), "--on", "clinic", "--peaks", "detect", "--detector", "xqrs", *where]
    result = CliRunner().invoke(app, [*words, "--output", str(tmp_path / "out")])
    assert result.exit_code == 0, result.stderr
    assert all(name in result.stdout for name in ("given ", "detected ", "detected and matched", "difference to given"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "clinic, peaks by xqrs" in page and "detected and matched" in page
    assert (tmp_path / "out" / "clinic-xqrs" / "scores.json").is_file()

"""Every card that ships reads files of the form of its database, here simulated: people, classes, leads, rates."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.pipeline.cards import NO_CONTEXT, load_cards, source_of
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

CARDS = load_cards()


def write_record(
    folder: Path,
    name: str,
    *,
    fs: int,
    leads: Sequence[str],
    symbols: Sequence[str] = (),
    annotator: str = "atr",
    comments: Sequence[str] = (),
    seconds: int = 20,
) -> None:
    """A record with a peak every 0.8 s, annotated with these symbols in turn; none writes no annotations."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*name.encode()])
    time = np.arange(seconds * fs) / fs
    peaks = np.arange(0.5, seconds - 1, 0.8)
    shape = np.exp(-0.5 * ((time[:, None] - peaks) / 0.02) ** 2).sum(axis=1)
    signal = shape[:, None] * rng.uniform(0.5, 1.5, len(leads)) + 0.01 * rng.normal(size=(len(time), len(leads)))
    wfdb.wrsamp(
        path.name, fs=fs, units=["mV"] * len(leads), sig_name=[*leads], p_signal=signal, fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads), baseline=[0] * len(leads), comments=[*comments], write_dir=str(path.parent),
    )  # fmt: skip
    if symbols:
        turns = [symbols[at % len(symbols)] for at in range(len(peaks))]
        notes = ["(N" if symbol == "+" else "" for symbol in turns]
        samples = np.round(peaks * fs).astype(int)
        wfdb.wrann(path.name, annotator, samples, symbol=turns, aux_note=notes, write_dir=str(path.parent))


TWELVE = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def incartdb(folder: Path) -> None:
    for name, person in {"I01": 1, "I02": 1, "I03": 2}.items():
        comments = ["<age>: 65 <sex>: F <diagnoses> Coronary artery disease", f"patient {person}", "PVCs, noise"]
        write_record(folder, name, fs=257, leads=TWELVE, symbols="NVAF", comments=comments)


def ltdb(folder: Path) -> None:
    for name in ("14046", "15814"):
        write_record(folder, name, fs=128, leads=["ECG1", "ECG2"], symbols="NNJV")


def edb(folder: Path) -> None:
    """With changes of ST (``s``) and T among the beats."""
    write_record(folder, "e0103", fs=250, leads=["V4", "MLIII"], symbols="NNVS+sT")
    write_record(folder, "e0105", fs=250, leads=["MLIII", "V4"], symbols="NNVS")


def nstdb(folder: Path) -> None:
    for name in ("118e24", "118e_6", "119e00"):
        write_record(folder, name, fs=360, leads=["MLII", "V1"], symbols="RA" if name < "119" else "NV")
    for noise in ("bw", "em", "ma"):
        write_record(folder, noise, fs=360, leads=["noise1", "noise2"])


def icentia11k(folder: Path) -> None:
    for name in ("p00000_s00", "p00000_s01", "p00001_s00"):
        write_record(folder, f"p00/{name[:6]}/{name}", fs=250, leads=["ecg"], symbols="+NNSVQ")


def chfdb(folder: Path) -> None:
    for name in ("chf01", "chf02"):
        write_record(folder, name, fs=250, leads=["ECG1", "ECG2"], symbols="NNV", annotator="ecg")


def mitdb(folder: Path) -> None:
    for name in ("118", "201", "202"):
        write_record(folder, name, fs=360, leads=["MLII", "V1"], symbols="NAVF/")


def svdb(folder: Path) -> None:
    for name in ("800", "801"):
        write_record(folder, name, fs=128, leads=["ECG1", "ECG2"], symbols="NSVFQ")


def ptbdb(folder: Path) -> None:
    found = {"patient001/s0010_re": "Myocardial infarction", "patient104/s0306lre": "Healthy control"}
    for name, reason in {**found, "patient200/s0400_re": "Cardiomyopathy"}.items():
        comments = ["age: 60", f"Reason for admission: {reason}"]
        write_record(folder, name, fs=1000, leads=["i", "ii"], comments=comments)


def ptbxl(folder: Path) -> None:
    codes = ("{'NORM': 100.0}", "{'IMI': 80.0, 'SR': 0.0}", "{'AFIB': 100.0}")
    rows = ["ecg_id,patient_id,scp_codes,strat_fold,filename_hr"]
    for number, code in enumerate(codes, start=1):
        name = f"records500/00000/{number:05d}_hr"
        write_record(folder, name, fs=500, leads=TWELVE, seconds=10)
        rows.append(f'{number},{100 + number}.0,"{code}",{number},{name}')
    (folder / "ptbxl_database.csv").write_text("\n".join(rows) + "\n")


def kaggle_mitbih(folder: Path) -> None:
    _write_rows(folder / "mitbih_train.csv", range(5))
    _write_rows(folder / "mitbih_test.csv", range(5))


def kaggle_ptbdb(folder: Path) -> None:
    _write_rows(folder / "ptbdb_normal.csv", [0, 0])
    _write_rows(folder / "ptbdb_abnormal.csv", [1, 1])


def _write_rows(path: Path, labels: Sequence[int]) -> None:
    rng = np.random.default_rng([*path.name.encode()])
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [[*rng.uniform(0.1, 1, 187), label] for label in labels]
    np.savetxt(path, rows, delimiter=",")


# Card → files of its form, the people in them (None: not known), and the classes that have beats.
FORMS: dict[str, tuple[Callable[[Path], None], set[str] | None, str]] = {
    "mitbih": (mitdb, {"118", "201"}, "N S V F Q"),
    "svdb": (svdb, {"800", "801"}, "N S V F Q"),
    "ptbdb": (ptbdb, {"patient001", "patient104"}, "normal MI"),
    "ptbxl": (ptbxl, {"101", "102"}, "normal MI"),
    "kaggle_mitbih": (kaggle_mitbih, None, "N S V F Q"),
    "kaggle_ptbdb": (kaggle_ptbdb, None, "normal MI"),
    "incartdb": (incartdb, {"1", "2"}, "N S V F"),
    "ltdb": (ltdb, None, "N S V"),
    "edb": (edb, None, "N S V"),
    "nstdb": (nstdb, {"118", "119"}, "N S V"),
    "icentia11k": (icentia11k, {"p00000", "p00001"}, "N S V Q"),
    "chfdb": (chfdb, {"chf01", "chf02"}, "N V"),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_card_alone_reads_the_files_of_its_database(name: str, tmp_path: Path) -> None:
    """No line of Python knows a database: its card is enough for beats, classes and people."""
    write, people, classes = FORMS[name]
    card = CARDS[name]
    write(tmp_path / str(card.folder))
    beats = source_of(card, tmp_path).read()
    assert {one for one, n in beats.counts().items() if n} == set(classes.split())
    found = None if beats.patients is None else set(beats.patients.tolist())
    assert found == people


def test_every_card_that_ships_is_tried_and_says_on_what() -> None:
    assert CARDS.keys() == FORMS.keys() | {"synthetic", "synthetic_mi", "simulated_people"}
    for name in FORMS:
        assert CARDS[name].about.tried, name
        assert CARDS[name].about.licence and CARDS[name].about.citation and CARDS[name].about.homepage, name
        assert CARDS[name].download is not None, name


@pytest.mark.parametrize("name", CARDS)
def test_every_card_is_a_choice_of_training(name: str) -> None:
    settings = validated(compose([f"dataset={name}"], output_dir="out"))
    assert settings["dataset"]["name"] == name == CARDS[name].name
    assert settings["task"]["name"] == CARDS[name].task


def test_records_with_noise_are_of_the_people_of_mit_bih(tmp_path: Path) -> None:
    """Trained on both, 118 is one person: with and without noise."""
    mitdb(tmp_path / "mitdb")
    nstdb(tmp_path / "nstdb")
    dataset: dict[str, Any] = validated(compose(["dataset=[mitbih,nstdb]"], output_dir="out"))["dataset"]
    beats = make_source(dataset, NO_CONTEXT, tmp_path).read()
    assert beats.patients is not None and beats.databases is not None
    assert set(beats.patients.tolist()) == {"mitbih/118", "mitbih/119", "mitbih/201"}
    assert set(beats.databases[beats.patients == "mitbih/118"].tolist()) == {"mitbih", "nstdb"}


def test_a_comment_that_names_nobody_is_refused_by_record(tmp_path: Path) -> None:
    from ecg_lightning.core.errors import DataError

    write_record(tmp_path / "incartdb", "I01", fs=257, leads=TWELVE, symbols="N")
    with pytest.raises(DataError, match=r"no header comment of .*I01 fits .*correct dataset\.patients"):
        source_of(CARDS["incartdb"], tmp_path).read()


def test_a_card_of_ones_own_is_found_and_a_malformed_one_named(tmp_path: Path) -> None:
    card = tmp_path / "dataset" / "clinic.yaml"
    card.parent.mkdir()
    card.write_text("defaults: [_database, _self_]\nname: clinic\nannotator: atr\nclass_map: aami\n")
    assert load_cards(tmp_path)["clinic"].folder == "clinic"
    assert "mitbih" in load_cards(tmp_path)

    card.write_text("defaults: [_database, _self_]\nname: clinic\nrecorded_fs: fast\n")
    with pytest.raises(ConfigError, match=r"the card of clinic: recorded_fs=fast: expected a number from 1 to"):
        load_cards(tmp_path)
    card.write_text("defaults: [_database, _self_]\nname: clinic\nanotator: atr\n")
    with pytest.raises(ConfigError, match=r"clinic.*anotator=atr: there is no such setting"):
        load_cards(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no database 'mitbhi'; choose one of chfdb, .*svdb"):
        load_cards(None, ["mitbhi"])

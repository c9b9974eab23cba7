"""Made data for the tests of the data layer: small, and of the same layout as the real."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from made import simulated

from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.recording import Recording

MakeBeats = Callable[..., Beats]


@pytest.fixture
def make_beats() -> MakeBeats:
    """``make_beats([5, 3], patients=2)``: so many beats of each class, each class divided among so many patients."""

    def make(counts: list[int], *, patients: int | None = None, seed: int = 0, leads: int = 1) -> Beats:
        rng = np.random.default_rng(seed)
        n = sum(counts)
        labels = np.repeat(np.arange(len(counts)), counts)
        owner = np.concatenate([np.arange(count) % (patients or 1) for count in counts])
        signals = rng.uniform(0.01, 1, (n, leads, 187)).astype(np.float32)
        lengths = rng.integers(60, 188, n)
        signals *= np.arange(187) < lengths[:, None, None]
        return Beats(
            signals=signals,
            lengths=lengths,
            lead_names=("MLII", "V1", "V5")[:leads],
            labels=labels,
            classes=AAMI_CLASSES[: len(counts)],
            fs=125.0,
            records=None if patients is None else np.char.add("r", owner.astype(str)),
            patients=None if patients is None else np.char.add("p", owner.astype(str)),
            samples=None if patients is None else np.arange(n) * 100,
            origin={"dataset": "made", "synthetic": True, "cut": {"length": 187}},
        )

    return make


@pytest.fixture(scope="session")
def synthetic_recordings() -> dict[str, list[Recording]]:
    """Half a minute of two patients, like each of the two databases."""
    return {
        like: list(simulated(name, patients=2, minutes=0.5, seed=3).recordings())
        for like, name in (("mitbih", "synthetic"), ("ptbdb", "synthetic_mi"))
    }


def write_record(
    folder: Path, recording: Recording, name: str, *, leads: tuple[str, ...], fmt: str, comments: list[str]
) -> None:
    """Write a record whose first lead is the recording and whose others are it upside down."""
    folder.mkdir(parents=True, exist_ok=True)
    first = recording.signals[0].astype(np.float64)
    signal = np.stack([first * (-1) ** lead for lead in range(len(leads))], axis=1)
    wfdb.wrsamp(
        name, fs=recording.fs, units=["mV"] * len(leads), sig_name=list(leads), p_signal=signal, fmt=[fmt] * len(leads),
        adc_gain=[200.0] * len(leads), baseline=[0] * len(leads), comments=comments, write_dir=str(folder),
    )  # fmt: skip


@pytest.fixture(scope="session")
def made_data_dir(tmp_path_factory: pytest.TempPathFactory, synthetic_recordings: dict[str, list[Recording]]) -> Path:
    """What `mitdb` and `ptbdb` are copies of."""
    data_dir = tmp_path_factory.mktemp("made")
    folder = data_dir / "mitdb"
    for name, recording in zip(("201", "202"), synthetic_recordings["mitbih"], strict=True):
        write_record(folder, recording, name, leads=("MLII", "V1"), fmt="212", comments=[])
        symbols = np.array(list("NAVF/"))[recording.labels]
        wfdb.wrann(
            name, "atr", np.concatenate([[1], recording.peaks]), symbol=["+", *symbols],
            aux_note=["(N", *[""] * len(symbols)], write_dir=str(folder),
        )  # fmt: skip
    (folder / "RECORDS").write_text("201\n202\n")

    folder = data_dir / "ptbdb"
    normal, infarcted = synthetic_recordings["ptbdb"]
    records = {
        "patient001/s0010_re": (infarcted, "Myocardial infarction"),
        "patient001/s0014lre": (infarcted, "Myocardial infarction"),
        "patient104/s0306lre": (normal, "Healthy control"),
        "patient200/s0400_re": (normal, "Cardiomyopathy"),
    }
    for record, (recording, diagnosis) in records.items():
        patient, name = record.split("/")
        comments = ["age: 60", f"Reason for admission: {diagnosis}"]
        write_record(folder / patient, recording, name, leads=("ii", "i"), fmt="16", comments=comments)
    (folder / "RECORDS").write_text("\n".join(records) + "\n")
    return data_dir


@pytest.fixture
def mitdb(tmp_path: Path, made_data_dir: Path) -> Path:
    """Records 201 and 202 in MIT-BIH's layout, annotated with one symbol of each class and a rhythm change."""
    return Path(shutil.copytree(made_data_dir / "mitdb", tmp_path / "data" / "mitdb"))


@pytest.fixture
def ptbdb(tmp_path: Path, made_data_dir: Path) -> Path:
    """Two records of one patient with infarction, one of a control, and one of another diagnosis, in PTB's layout."""
    return Path(shutil.copytree(made_data_dir / "ptbdb", tmp_path / "data" / "ptbdb"))

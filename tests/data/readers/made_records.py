"""A simulated recording of known heartbeats, and writers of its twins in other notations."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import numpy.typing as npt
import wfdb

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES
from ecg_lightning.data.readers import read_recording
from ecg_lightning.data.windows import Cut, beats_of

FS, N, GAIN = 360, 360 * 40, 200.0
# Even, so that a clock of half the rate can state them.
PEAKS = 2 * np.cumsum(np.random.default_rng(0).integers(125, 165, 60))
PEAKS = PEAKS[PEAKS < N - 400]
SYMBOLS = [("N", "A", "N", "V", "F", "N", "/")[at % 7] for at in range(len(PEAKS))]


def _signal() -> npt.NDArray[np.float64]:
    time = np.arange(N)
    waves = ((0, 1.2, 6), (100, 0.3, 25), (-14, -0.2, 5))  # R, T and Q: delay and width in samples, height in mV
    signal = sum(h * np.exp(-0.5 * ((time - peak - delay) / width) ** 2) for peak in PEAKS for delay, h, width in waves)
    return np.asarray(signal) + 0.05 * np.sin(2 * np.pi * time / FS / 3)


DIGITAL = np.round(np.stack([_signal(), 0.5 * _signal()[::-1]], 1) * GAIN).astype(np.int64)  # [t, leads]
MILLIVOLTS = DIGITAL.T / GAIN  # [leads, t]


def wfdb_record(
    folder: Path,
    name: str = "r1",
    *,
    digital: npt.NDArray[np.int64] = DIGITAL,
    gain: float = GAIN,
    samples: npt.NDArray[np.int64] = PEAKS,
    annotator: str = "atr",
    clock: float | None = None,
    **header: Any,
) -> Path:
    """Write a WFDB record with its annotations; its path is without extension."""
    folder.mkdir(parents=True, exist_ok=True)
    n = digital.shape[1]
    settings = {"units": ["mV"] * n, "sig_name": ["MLII", "V1", "V2"][:n], "fmt": ["16"] * n, "fs": FS} | header
    wfdb.wrsamp(name, d_signal=digital, adc_gain=[gain] * n, baseline=[0] * n, write_dir=str(folder), **settings)
    wfdb.wrann(name, annotator, samples, SYMBOLS, write_dir=str(folder), **({} if clock is None else {"fs": clock}))
    return folder / name


def edf_record(
    path: Path,
    *,
    digital: npt.NDArray[np.int64] = DIGITAL,
    unit: str = "mV",
    per_mv: float = 1.0,
    labels: Sequence[str] = ("ECG MLII", "ECG V1"),
    record_s: float = 1.0,
    patient: str = "X",
) -> Path:
    """Write an EDF+ file, or a BDF+ file by its suffix, with the beats as annotations."""
    bdf = path.suffix == ".bdf"
    low, high = (-(2**23), 2**23 - 1) if bdf else (-(2**15), 2**15 - 1)
    physical = (low / GAIN * per_mv, high / GAIN * per_mv)
    physical = (round(physical[0], 2), round(physical[1], 3)) if per_mv == 1 else physical
    signals = [
        (edfio.BdfSignal if bdf else edfio.EdfSignal).from_digital(
            column.astype(np.int32 if bdf else np.int16), FS, label=label, physical_dimension=unit,
            physical_range=physical, digital_range=(low, high),
        )
        for column, label in zip(digital.T, labels, strict=True)
    ]  # fmt: skip
    notes = [edfio.EdfAnnotation(at / FS, None, symbol) for at, symbol in zip(PEAKS, SYMBOLS, strict=True)]
    made = (edfio.Bdf if bdf else edfio.Edf)(
        signals, annotations=notes, data_record_duration=record_s, patient=edfio.Patient(code=patient)
    )
    made.write(path)
    return path


def csv_record(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    """Write a text file and the table of beats beside it."""
    path.write_bytes(text.encode(encoding))
    rows = "".join(f"{at},{symbol}\n" for at, symbol in zip(PEAKS, SYMBOLS, strict=True))
    path.with_name(f"{path.stem}_beats.csv").write_text("sample,symbol\n" + rows)
    return path


def beats_in(path: Path, annotator: str = "atr", **settings: Any) -> Beats:
    """The beats of the first lead of a recording."""
    recording = read_recording(path, leads=[0], annotator=annotator, settings=settings)
    return beats_of([recording], how=Cut(), classes=AAMI_CLASSES, origin={})


def same_beats(one: Beats, other: Beats, *, within: float = 0.0) -> bool:
    """Whether two have equal beats, to the bit unless `within` is above 0."""
    assert len(one) > 30
    np.testing.assert_allclose(one.signals, other.signals, rtol=0, atol=within)
    for name in ("lengths", "labels", "samples"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    return True


def refusal_of(read: Callable[[], Any]) -> str | None:
    """What a `DataError` says; None if all was read."""
    try:
        read()
    except DataError as error:
        return str(error)
    return None

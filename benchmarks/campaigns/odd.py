"""What the campaign on malformed recordings starts from: a sound simulated recording in every format."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import edfio
import numpy as np
import numpy.typing as npt
import wfdb
from scipy.io import savemat

FS, N, GAIN = 250, 250 * 30, 200.0
LEADS = ("MLII", "V1")
SUFFIXES = {"wfdb": "", "edf": ".edf", "csv": ".csv", "mat": ".mat"}
ANNOTATORS = {"wfdb": "atr", "edf": "edf", "csv": "_beats.csv", "mat": ".atr"}  # as a card names them


@dataclass(frozen=True)
class Odd:
    """What is odd about a recording, and why working is right, too; with None it must be refused."""

    what: str
    accepted_because: str | None = None


# Changes the recording r1 in a folder.
Fault = Callable[[Path, Random], Odd]


def peaks_of(seed: int) -> npt.NDArray[np.int64]:
    """Where the R peaks of a recording are."""
    peaks = np.cumsum(np.random.default_rng(seed).integers(150, 230, 60))
    return peaks[peaks < N - 200]


def symbols_of(seed: int) -> list[str]:
    """Of its beats: four of five are N, the others V."""
    return ["V" if at % 5 == 2 else "N" for at in range(len(peaks_of(seed)))]


def digital_of(seed: int) -> npt.NDArray[np.int64]:
    """Its samples ``[t, leads]``, `GAIN` a millivolt."""
    time, ectopic = np.arange(N), np.asarray([one == "V" for one in symbols_of(seed)])
    width = np.where(ectopic, 12, 4)
    waves = sum(
        1.2 * np.exp(-0.5 * ((time - peak) / wide) ** 2) + 0.3 * np.exp(-0.5 * ((time - peak - 70) / 18) ** 2)
        for peak, wide in zip(peaks_of(seed), width, strict=True)
    )
    signal = waves + 0.02 * np.random.default_rng(seed).standard_normal(N)
    return np.round(np.stack([signal, 0.5 * signal], 1) * GAIN).astype(np.int64)


@cache
def sound(reader: str, seed: int = 1) -> dict[str, bytes]:
    """The files of the sound recording ``r{seed}`` with its annotations, by name."""
    name, peaks, symbols, digital = f"r{seed}", peaks_of(seed), symbols_of(seed), digital_of(seed)
    with TemporaryDirectory() as folder:
        if reader in ("wfdb", "mat"):
            wfdb.wrsamp(
                name, fs=FS, units=["mV"] * 2, sig_name=[*LEADS], d_signal=digital, fmt=["16"] * 2,
                adc_gain=[GAIN] * 2, baseline=[0] * 2, write_dir=folder, comments=[f"patient {seed}"],
            )  # fmt: skip
            wfdb.wrann(name, "atr", peaks, symbols, write_dir=folder)
        if reader == "mat":
            for suffix in (".hea", ".dat"):
                Path(folder, f"{name}{suffix}").unlink()
            savemat(Path(folder, f"{name}.mat"), {"val": digital.T / GAIN})
        if reader == "csv":
            rows = "".join(f"{at / FS:.3f},{a / GAIN:g},{b / GAIN:g}\n" for at, (a, b) in enumerate(digital))
            Path(folder, f"{name}.csv").write_text(f"time,MLII,V1\n{rows}")
            rows = "".join(f"{at},{symbol}\n" for at, symbol in zip(peaks, symbols, strict=True))
            Path(folder, f"{name}_beats.csv").write_text(f"sample,symbol\n{rows}")
        if reader == "edf":
            signals = [
                edfio.EdfSignal.from_digital(
                    column.astype(np.int16), FS, label=f"ECG {lead}", physical_dimension="mV",
                    physical_range=(-163.84, 163.835), digital_range=(-(2**15), 2**15 - 1),
                )
                for column, lead in zip(digital.T, LEADS, strict=True)
            ]  # fmt: skip
            notes = [edfio.EdfAnnotation(at / FS, None, symbol) for at, symbol in zip(peaks, symbols, strict=True)]
            edfio.Edf(signals, annotations=notes, data_record_duration=1).write(Path(folder, f"{name}.edf"))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def put(folder: Path, reader: str, seed: int = 1) -> None:
    """Write a sound recording into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sound(reader, seed).items():
        (folder / name).write_bytes(content)


def flipped(path: Path, random: Random, *, first: int = 0, last: int | None = None, most: int = 4) -> str:
    """Flip some bits of a file, between two bytes; returns where."""
    content = bytearray(path.read_bytes())
    places = [random.randrange(first, min(len(content), last or len(content))) for _ in range(random.randint(1, most))]
    bits = [random.randrange(8) for _ in places]
    for at, bit in zip(places, bits, strict=True):
        content[at] ^= 1 << bit
    path.write_bytes(content)
    return f"flipped in {path.name}: " + ", ".join(
        f"bit {bit} of byte {at}" for at, bit in zip(places, bits, strict=True)
    )


def cut_off(path: Path, random: Random, *, first: int = 0) -> str:
    """Cut a file off somewhere; returns where."""
    n = random.randrange(first, path.stat().st_size)
    path.write_bytes(path.read_bytes()[:n])
    return f"{path.name} is cut off after {n} bytes"


def matlab(**variables: object) -> bytes:
    """A MATLAB file of version 5."""
    held = BytesIO()
    savemat(held, variables)
    return held.getvalue()


def no_file(path: Path, random: Random) -> Odd:
    """Replace a file by something else of its name."""
    path.unlink()
    match random.randrange(6):
        case 0:
            beside = path.suffix in (".dat", ".atr")
            because = None if beside else "the recordings of a folder are those whose files are there"
            return Odd(f"{path.name} is not there", because)
        case 1:
            path.mkdir()
            return Odd(f"{path.name} is a folder")
        case 2:
            os.mkfifo(path)
            return Odd(f"{path.name} is a pipe")
        case 3:
            path.symlink_to(path.name)
            return Odd(f"{path.name} is a link to itself")
        case 4:
            path.symlink_to("/dev/zero")
            return Odd(f"{path.name} is a link to /dev/zero")
        case _:
            path.symlink_to("absent")
            return Odd(f"{path.name} is a link to nothing")

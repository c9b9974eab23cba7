"""A recording read piece by piece is the recording read as a whole."""

from pathlib import Path

import numpy as np
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers import open_recording
from ecg_lightning.data.readers.base import RecordingFile, Signal
from ecg_lightning.data.recording import Annotations
from ecg_lightning.data.stream import resampled_pieces
from ecg_lightning.data.windows import resample


class InMemory(RecordingFile):
    """Leads of any number of samples a frame."""

    def __init__(self, *leads: Signal, rate: float, per_frame: tuple[int, ...] = (1, 1)) -> None:
        self.path, self.name, self.lead_names = Path("r"), "r", tuple(f"lead {at}" for at in range(len(leads)))
        self.frame_rate, self.samples_per_frame, self.leads = rate, per_frame[: len(leads)], leads
        self.n_frames = len(leads[0]) // per_frame[0]

    def read_frames(self, positions, start, stop):
        rates = self.samples_per_frame
        return [self.leads[at][start * rates[at] : stop * rates[at]] for at in positions]

    def annotations(self, annotator: str) -> tuple[Annotations, float]:
        raise DataError("none")


def whole(file: RecordingFile, fs: float, chunk_s: float):
    return np.concatenate([piece.signals for piece in resampled_pieces(file, [0, 1], fs, chunk_s=chunk_s)], axis=1)


@pytest.mark.parametrize("rate", [64.0, 125.0, 128.0, 250.0, 257.0, 360.0, 1000.0])
def test_pieces_of_any_length_give_the_same_samples_to_the_bit(rate: float) -> None:
    rng = np.random.default_rng(0)
    file = InMemory(*rng.normal(3, 1, (2, round(47 * rate) + 5)), rate=rate)
    once = whole(file, 125.0, 1e6)
    for chunk_s in (0.1, 2, 10):
        np.testing.assert_array_equal(whole(file, 125.0, chunk_s), once)
    inside = slice(100, -100)
    smooth = InMemory(*np.cumsum(rng.normal(0, 0.01, (2, file.n_frames)), axis=1), rate=rate)
    np.testing.assert_allclose(
        whole(smooth, 125.0, 10)[0][inside], resample(smooth.leads[0], rate, 125.0)[inside], atol=2e-3
    )


def test_a_constant_stays_what_it_is() -> None:
    file = InMemory(*np.full((2, 3600), 4.2), rate=360.0)
    np.testing.assert_allclose(whole(file, 125.0, 3), 4.2, rtol=1e-6)


def test_leads_of_different_rates_come_together() -> None:
    time = np.arange(0, 40, 1 / 500)
    file = InMemory(np.sin(time), np.sin(time[::4]), rate=125.0, per_frame=(4, 1))
    both = whole(file, 125.0, 7)
    np.testing.assert_allclose(both[0][50:-50], both[1][50:-50], atol=1e-3)
    assert both.shape == (2, 40 * 125)


def test_a_gap_stays_a_gap_wherever_the_pieces_end() -> None:
    signal = np.sin(np.arange(0, 60, 1 / 250))
    signal[5000:7000] = np.nan
    file = InMemory(signal, signal, rate=250.0)
    once = whole(file, 125.0, 1e6)
    known = np.isfinite(once[0])
    assert not known[2500:3500].any() and known[:2450].all() and known[3550:].all()
    for chunk_s in (1, 20, 24):
        np.testing.assert_array_equal(whole(file, 125.0, chunk_s), once)


def test_a_file_that_holds_less_than_it_states_is_refused() -> None:
    file = InMemory(np.zeros(1000), np.zeros(1000), rate=250.0)
    file.n_frames = 2000
    with pytest.raises(DataError, match="cut off"):
        whole(file, 125.0, 1)
    file.n_frames = 0
    with pytest.raises(DataError, match="nothing"):
        whole(file, 125.0, 1)


@pytest.mark.real_data("mitdb/100.dat")
def test_a_record_read_in_pieces_is_still_compared_with_the_checksum_of_its_header(
    real_data_dir: Path, tmp_path: Path
) -> None:
    for suffix in (".hea", ".dat"):
        (tmp_path / f"100{suffix}").write_bytes((real_data_dir / f"mitdb/100{suffix}").read_bytes())
    assert whole(open_recording(tmp_path / "100"), 125.0, 60).shape == (2, 225_695)
    damaged = bytearray((tmp_path / "100.dat").read_bytes())
    damaged[900_000] ^= 4
    (tmp_path / "100.dat").write_bytes(damaged)
    with pytest.raises(DataError, match="checksum"):
        whole(open_recording(tmp_path / "100"), 125.0, 60)

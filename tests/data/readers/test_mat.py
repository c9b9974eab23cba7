"""MATLAB files as of the challenges of Computing in Cardiology, with and without a WFDB header."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_records import DIGITAL, FS, MILLIVOLTS, N, beats_in, refusal_of, same_beats, wfdb_record
from scipy.io import savemat

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.readers import open_recording, read_recording


def test_a_header_beside_it_says_all(tmp_path: Path) -> None:
    savemat(tmp_path / "r1.mat", {"val": DIGITAL.T.astype(np.int16)}, format="4")
    start = (tmp_path / "r1.mat").stat().st_size - DIGITAL.size * 2
    lead = f"r1.mat 16+{start} 200/mV 16 0\n"
    (tmp_path / "r1.hea").write_text(f"r1 2 {FS} {N}\n{lead}{lead}")
    np.testing.assert_array_equal(open_recording(tmp_path / "r1.mat").read([0, 1]), MILLIVOLTS)


@pytest.mark.parametrize("version", ["4", "5"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("values", "card"), [(DIGITAL.T, {"gain": 200.0}), (MILLIVOLTS * 1000, {"unit": "uV"}), (MILLIVOLTS, {})]
)
def test_without_a_header_the_card_says_rate_and_unit(
    tmp_path: Path, version: str, turned: bool, values: Any, card: dict[str, Any]
) -> None:
    wfdb_record(tmp_path, name="plain")
    path = tmp_path / "r1.mat"
    savemat(path, {"val": values.T if turned else values}, format=version)
    (tmp_path / "r1.atr").write_bytes((tmp_path / "plain.atr").read_bytes())
    assert same_beats(beats_in(path, ".atr", fs=FS, **card), beats_in(tmp_path / "plain"), within=1e-6)


@pytest.mark.parametrize(
    ("variables", "card", "said"),
    [
        ({"val": DIGITAL.T}, {}, r"no header r1\.hea that states a sampling rate; set dataset\.csv\.fs"),
        ({"val": DIGITAL.T}, {"fs": FS}, "without a unit, which are no millivolts"),
        ({"a": DIGITAL.T, "b": DIGITAL.T}, {"fs": FS}, "has the variables a, b; expected the signals in val"),
        ({"val": np.array(["a", "b"])}, {"fs": FS}, r"r1\.mat"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    tmp_path: Path, variables: dict[str, Any], card: dict[str, Any], said: str
) -> None:
    savemat(tmp_path / "r1.mat", variables)
    with pytest.raises(DataError, match=said):
        open_recording(tmp_path / "r1.mat", **card).read([0])


def test_a_file_of_version_7_3_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "r1.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(DataError, match=r"version 7\.3; save it with -v7"):
        open_recording(tmp_path / "r1.mat", fs=FS)


@given(
    changes=st.lists(
        st.tuples(st.integers(0, 300) | st.integers(0, 10**5), st.integers(0, 255)), min_size=1, max_size=4
    ),
    cut=st.none() | st.integers(0, 500),
    version=st.sampled_from("45"),
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_read_or_refused_and_nothing_else(
    tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, version: str
) -> None:
    path = tmp_path / "r1.mat"
    savemat(path, {"val": DIGITAL[:1500].T.astype(np.int16)}, format=version)
    content = bytearray(path.read_bytes()[:cut])
    for at, value in changes if content else ():
        content[at % len(content)] = value
    path.write_bytes(content)
    refusal = refusal_of(lambda: read_recording(path, leads=[0], settings={"fs": FS, "gain": 200.0}))
    assert refusal is None or str(tmp_path) in refusal or "record r1" in refusal

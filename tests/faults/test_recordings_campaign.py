"""Malformed recordings, tables and cards end with one sentence, or with the same beats in every format."""

from pathlib import Path
from random import Random
from tempfile import mkdtemp

from campaigns import recordings
from campaigns.frame import failure, preload, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_malformed_recording_is_refused_with_one_sentence_or_read_for_a_reason(seed: int, tmp_path: Path) -> None:
    preload()
    folder = Path(mkdtemp(dir=tmp_path))
    case = recordings.campaign(folder, Random(seed))
    ended = run(case.command, cwd=folder)
    assert failure(case, ended) is None, f"{case}\n{ended.err}"

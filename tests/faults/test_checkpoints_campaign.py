"""Damaged and hostile checkpoints end with one sentence, in every command that reads them."""

import tempfile
from pathlib import Path
from random import Random

from campaigns import checkpoints
from campaigns.frame import failure, preload, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_wrong_checkpoint_is_refused_with_one_sentence(seed: int, tmp_path: Path) -> None:
    preload()
    with tempfile.TemporaryDirectory(dir=tmp_path) as own:
        case = checkpoints.campaign(Path(own), Random(seed))
        ended = run(case.command, cwd=Path(own))
    assert failure(case, ended) is None, f"{case}\n{ended.err}"

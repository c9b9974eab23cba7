"""Wrong settings and options end with one sentence that names them, before any work."""

from pathlib import Path
from random import Random

import pytest
from campaigns import settings
from campaigns.frame import failure, preload, run
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st


@hypothesis_settings(
    max_examples=5, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(random=st.randoms(use_true_random=False))
def test_a_wrong_setting_is_refused_with_one_sentence(random: Random, tmp_path_factory: pytest.TempPathFactory) -> None:
    preload()
    folder: Path = tmp_path_factory.mktemp("case")
    case = settings.campaign(folder, random)
    ended = run(case.command, cwd=folder)
    assert failure(case, ended) is None, f"{case}\n{ended.err}"

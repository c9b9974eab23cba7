"""Wrong settings end with one sentence, before any work."""

from pathlib import Path
from random import Random

from campaigns import settings
from campaigns.frame import failure, preload, run
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False))
def test_a_wrong_setting_is_refused_with_one_sentence(random: Random, tmp_path: Path) -> None:
    preload()
    case = settings.campaign(tmp_path, random)
    ended = run(case.command, cwd=tmp_path)
    assert failure(case, ended) is None, f"{case}\n{ended.err}"

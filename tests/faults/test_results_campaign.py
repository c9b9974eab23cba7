"""Damaged results are refused or change nothing, and names in them are data everywhere."""

from random import Random

import pytest
from campaigns import results
from campaigns.frame import failure, preload, run
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st


@hypothesis_settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10**6))
def test_damaged_results_are_refused_or_change_nothing_and_names_are_data(
    seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    preload()
    folder = tmp_path_factory.mktemp("case")
    case = results.campaign(folder, Random(seed))
    ended = run(case.command, cwd=folder)
    assert failure(case, ended) is None, f"{case}\n{ended.err}"

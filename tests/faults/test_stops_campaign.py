"""What is stopped at any moment ends as the undisturbed command, and two commands never mix in one folder."""

from pathlib import Path
from random import Random

import pytest
from campaigns import stops
from campaigns.frame import Trial, preload

# Seeds that choose what is quick: SIGTERM in a run's second half, and two runs at once.
SHORT = {"a run that is terminated": (stops.stopped, 4), "two runs in one folder": (stops.twice, 2)}


@pytest.mark.parametrize(("trial", "seed"), SHORT.values(), ids=[*SHORT])
def test_a_stop_and_a_second_command_do_no_harm(trial: Trial, seed: int, tmp_path: Path) -> None:
    preload()
    case, ended, why = trial(tmp_path, Random(seed))
    assert why is None, f"{case}\n{ended.out}\n{ended.err}"

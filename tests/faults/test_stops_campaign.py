"""What is stopped at any moment ends as the undisturbed command, and two commands never mix in one folder."""

from pathlib import Path
from random import Random

import pytest
from campaigns import stops
from campaigns.frame import Trial, preload


@pytest.mark.parametrize("part", [stops.stopped, stops.twice])
def test_a_stop_and_a_second_command_do_no_harm(part: Trial, tmp_path: Path) -> None:
    preload()
    case, ended, why = part(tmp_path, Random(0))
    assert why is None, f"{case}\n{ended.out}\n{ended.err}"

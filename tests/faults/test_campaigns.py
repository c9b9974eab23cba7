"""Wrong input ends with one sentence: some cases of each campaign, repeatable by their seed."""

import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import CAMPAIGNS

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults.py"
CASES = {"stops": 2, "disks": 4, "downloads": 6}


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_some_cases_of_each_campaign_survive(campaign: str) -> None:
    # In a process of its own: it forks for each case, which a process with threads should not.
    command = [sys.executable, str(FAULTS), campaign, "--n", str(CASES.get(campaign, 8)), "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0 and ", 0 failed;" in run.stdout, run.stdout + run.stderr

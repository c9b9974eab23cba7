"""Wrong input ends with one sentence: some cases of each campaign, repeatable by their seed."""

import subprocess
import sys
from pathlib import Path

import pytest
from campaigns import CAMPAIGNS

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults.py"
SLOW = ("disks", "stops")
QUICK = sorted(set(CAMPAIGNS) - set(SLOW))


@pytest.mark.parametrize(("campaigns", "n"), [(QUICK, 8), (SLOW, 4)], ids=["quick", "slow"])
def test_some_cases_of_each_campaign_survive(campaigns: list[str], n: int) -> None:
    # In a process of their own: it forks for each case, which a process with threads should not.
    command = [sys.executable, str(FAULTS), *campaigns, "--n", str(n), "--seed", "3"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert run.returncode == 0 and run.stdout.count(", 0 failed;") == len(campaigns), run.stdout + run.stderr

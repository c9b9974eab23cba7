"""What the file system refuses ends with one sentence that says what helps."""

from pathlib import Path
from random import Random

import pytest
from campaigns import disks
from campaigns.frame import one_command, preload


@pytest.mark.parametrize("seed", range(6))
def test_what_the_file_system_refuses_is_one_sentence(seed: int, tmp_path: Path) -> None:
    preload()
    case, ended, why = one_command(disks.campaign)(tmp_path, Random(f"ci:{seed}"))
    assert why is None, f"{case}\n{ended.err}"

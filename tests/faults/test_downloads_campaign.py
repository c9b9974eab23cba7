"""A server that misbehaves makes no wrong file."""

from pathlib import Path
from random import Random

import pytest
from campaigns import downloads
from campaigns.frame import one_command, preload


@pytest.mark.parametrize("seed", range(12))
def test_a_server_that_misbehaves_makes_no_wrong_file(seed: int, tmp_path: Path) -> None:
    preload()
    case, ended, why = one_command(downloads.campaign)(tmp_path, Random(f"ci:{seed}"))
    assert why is None, f"{case}\n{ended.err}"

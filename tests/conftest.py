"""What all tests share: one thread, and the real recordings, where they are there."""

import os
from pathlib import Path

import pytest

# Before torch is imported: on tensors as small as the tests' its threads mostly wait for each other, and on a busy
# machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def real_data_dir(request: pytest.FixtureRequest) -> Path:
    """The data folder, if it holds what the test's mark names, as ``@pytest.mark.real_data("mitdb")``; else a skip."""
    folder = os.environ.get("ECG_DATA_DIR")
    if not folder:
        pytest.skip("ECG_DATA_DIR is not set")
    mark = request.node.get_closest_marker("real_data")
    for name in mark.args if mark else ():
        if not (Path(folder) / name).exists():
            pytest.skip(f"ECG_DATA_DIR holds no {name}")
    return Path(folder)

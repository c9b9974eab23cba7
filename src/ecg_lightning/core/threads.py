"""How many threads a process may use."""

import os

import joblib


def available_threads() -> int:
    """As ``OMP_NUM_THREADS`` states, which torch, joblib and Dask heed or set, and else one a core."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(stated) if stated.isdigit() and int(stated) else int(joblib.cpu_count())

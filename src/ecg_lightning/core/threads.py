"""How many threads a process may use, and work side by side in them."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import joblib


def available_threads() -> int:
    """As ``OMP_NUM_THREADS`` states, which torch, joblib and Dask heed or set, and else one a core."""
    stated = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(stated) if stated.isdigit() and int(stated) else int(joblib.cpu_count())


@contextmanager
def side_by_side(n: int) -> Iterator[Executor]:
    """`n` threads, in each of which torch, if it is loaded, computes without further ones.

    Threads that each work on a batch of their own wait for each other once; those that share a batch, at every layer.
    """
    torch = sys.modules.get("torch")  # what needs it has imported it
    before = torch.get_num_threads() if torch else 1
    settings = {"initializer": torch.set_num_threads, "initargs": (1,)} if torch else {}
    with ThreadPoolExecutor(n, **settings) as threads:
        try:
            yield threads
        except BaseException:  # Ctrl-C, too: what has not begun is not waited for
            threads.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            if torch:
                torch.set_num_threads(before)  # a thread's setting is also that of threads which start after it

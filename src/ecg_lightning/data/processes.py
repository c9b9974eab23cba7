"""Work on many recordings by several processes, if there is enough of it."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

SERIAL_S = 3.0  # starting processes takes about as long
AT_ONCE = 16  # results of each process in memory at most

In = TypeVar("In")
Out = TypeVar("Out")


def in_processes(function: Callable[[In], Out], arguments: Iterable[In]) -> Iterator[Out]:
    """`function` of each argument in turn; what is not done after `SERIAL_S` is divided among processes, one a core."""
    waiting, began = iter(arguments), time.monotonic()
    for argument in waiting:
        yield function(argument)
        if time.monotonic() - began > SERIAL_S:
            break
    if not (some := list(islice(waiting, AT_ONCE))):
        return
    from joblib import Parallel, cpu_count, delayed

    n = cpu_count()
    with Parallel(n_jobs=n) as pool:
        while some:
            yield from pool(delayed(function)(argument) for argument in some)
            some = list(islice(waiting, n * AT_ONCE))

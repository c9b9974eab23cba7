"""Faster start of the command line: imports skip what is not used and do not trigger the garbage collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = ("matplotlib", "scipy")  # imported by torchmetrics for audio metrics and for its own plots


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import torchmetrics, and whatever the block imports, in about half the time.

    For command-line processes only: torchmetrics can no longer plot in them. If torchmetrics is already imported or
    its internals have changed, only the garbage collector is affected: it is off within the block.
    """
    enabled, is_first = gc.isenabled(), "torchmetrics" not in sys.modules
    gc.disable()
    try:
        _import_torchmetrics()
        yield
    finally:
        if is_first:  # later, what an earlier job of a sweep has left would never be collected
            gc.freeze()
        if enabled:
            gc.enable()


def _import_torchmetrics() -> None:
    from lightning_utilities.core import imports

    try:
        check, available = imports.RequirementCache._check_requirement, imports.package_available
    except AttributeError:  # of another version: torchmetrics then takes as long as it does
        return

    def check_used(cache: imports.RequirementCache) -> None:
        if str(cache.requirement).partition(">")[0] in UNUSED:
            cache.available, cache.message = False, "not used"
        else:
            check(cache)

    imports.RequirementCache._check_requirement = check_used  # type: ignore[method-assign, assignment]
    imports.package_available = lambda name: name not in UNUSED and available(name)  # type: ignore[assignment]
    try:
        import torchmetrics  # noqa: F401
    finally:
        imports.RequirementCache._check_requirement = check  # type: ignore[method-assign]
        imports.package_available = available

"""A quick start of a command: torch and Lightning import what nothing here uses, and the garbage collector looks on."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

UNUSED = ("matplotlib", "scipy")
"""What torchmetrics imports for metrics of audio and for its own plots."""


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import torchmetrics, and in the block whatever else is wanted, in about half the time.

    For the processes of the command line alone: in them torchmetrics can no longer plot. Where torchmetrics is imported
    already, or is built in another way, nothing is changed but the garbage collector, which is off within the block:
    all that is imported stays.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        _import_torchmetrics()
        yield
    finally:
        if enabled:
            gc.freeze()
            gc.enable()


def _import_torchmetrics() -> None:
    from lightning_utilities.core import imports

    check, available = imports.RequirementCache._check_requirement, imports.package_available

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

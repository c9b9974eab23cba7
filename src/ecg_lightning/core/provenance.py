"""Where a result came from: its settings as one word, versions of what computed it, and the revision of the code."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

PACKAGES = (
    "ecg-lightning",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "hydra-core",
    "numpy",
    "scipy",
    "imbalanced-learn",
    "wfdb",
)

WITHOUT_EFFECT = (
    "hydra",
    "output_dir",
    "data_dir",
    "cache_dir",
    "logger",
    "report",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "callbacks.progress",
    "callbacks.interrupt",
)
"""Settings of where a run reads and writes and what it shows, which change none of its metrics."""

OWN_LAST = "${output_dir}/checkpoints/last.ckpt"
"""``ckpt_path`` of a run that resumes where it stopped: it stays the run it was."""


def config_digest(cfg: DictConfig) -> str:
    """Ten hexadecimal digits that are the same for configurations which ask for the same metrics.

    They are taken of the configuration as composed, interpolations unresolved, without what has no effect: the same on
    every machine, and however the overrides were typed.
    """
    plain = without(OmegaConf.to_container(cfg, resolve=False), WITHOUT_EFFECT)  # type: ignore[arg-type]
    if plain.get("ckpt_path") == OWN_LAST:
        plain["ckpt_path"] = None
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:10]


def without(config: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of a configuration in plain values that lacks these settings, written as ``group.setting``."""
    kept = dict(config)
    for setting in settings:
        head, _, rest = setting.partition(".")
        if rest and isinstance(kept.get(head), Mapping):
            kept[head] = without(kept[head], [rest])
        elif not rest:
            kept.pop(head, None)
    return kept


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a metric can depend on; those not installed are left out."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@cache
def git_revision() -> str | None:
    """Commit that the code was at, with ``-dirty`` if files differed from it; None where no repository tracks the code.

    An environment inside somebody's repository is not part of it.
    """
    here = Path(__file__)
    if _git("ls-files", "--error-unmatch", here.name, cwd=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*", cwd=here.parent)


def _git(*arguments: str, cwd: Path) -> str | None:
    """What git prints; None where it fails or is not there."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None

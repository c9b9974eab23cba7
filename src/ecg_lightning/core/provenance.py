"""Where a result came from: a digest of its settings, versions of the software and the revision of the code."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

PACKAGES = (
    "ecg-lightning", "torch", "pytorch-lightning", "torchmetrics", "hydra-core", "numpy", "scipy", "imbalanced-learn",
    "wfdb",
)  # fmt: skip

WITHOUT_EFFECT = (  # where a run reads and writes and what it prints: settings that change none of its metrics
    "hydra", "output_dir", "data_dir", "cache_dir", "logger", "report", "trainer.enable_progress_bar",
    "trainer.log_every_n_steps", "callbacks.progress", "callbacks.interrupt",
)  # fmt: skip

OWN_LAST = "${output_dir}/checkpoints/last.ckpt"  # ckpt_path of a run that resumes; its digest stays the same


def config_digest(cfg: DictConfig) -> str:
    """Ten hexadecimal digits, equal for configurations that give the same metrics.

    They are computed from the composed configuration with interpolations unresolved and without `WITHOUT_EFFECT`, so
    that they depend neither on the machine nor on how the overrides were typed.
    """
    plain = without(OmegaConf.to_container(cfg, resolve=False), WITHOUT_EFFECT)  # type: ignore[arg-type]
    if plain.get("ckpt_path") == OWN_LAST:
        plain["ckpt_path"] = None
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:10]


def without(config: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """A copy of a plain configuration without these settings, each written as ``group.setting``."""
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
    """Versions of Python and of the installed packages that a metric can depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def git_revision() -> str | None:
    """Commit of the code, with ``-dirty`` if files differ from it; None where no repository tracks the code."""
    here = Path(__file__)  # perhaps in an environment inside a user's repository, which does not track it
    if _git("ls-files", "--error-unmatch", here.name, cwd=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*", cwd=here.parent)


def _git(*arguments: str, cwd: Path) -> str | None:
    """What git prints; None if it fails or is not installed."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None

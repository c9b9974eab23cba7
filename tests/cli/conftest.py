"""Other packages that add to this one, as an installation would leave them."""

import importlib
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from ecg_lightning.core import plugins
from ecg_lightning.models import registry


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package with an entry point, and files by their paths, until the test ends."""
    site = tmp_path / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    registry.model_names()  # imports the package's own, which register themselves only once
    before = set(sys.modules)
    registered = dict(registry._registered)

    def clear() -> None:
        plugins.added.cache_clear()
        registry._import_all.cache_clear()
        importlib.invalidate_caches()

    def install(group: str, entry: str, *, name: str | None = None, **files: str) -> None:
        package = name or f"package-{entry.split()[0]}"
        folder = site / f"{package.replace('-', '_')}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        for path, content in files.items():
            (site / path).parent.mkdir(parents=True, exist_ok=True)
            (site / path).write_text(content)
        clear()
        assert metadata.distribution(package).version == "1.0"

    yield install
    for module in set(sys.modules) - before:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(site)):
            del sys.modules[module]
    registry._registered.clear()
    registry._registered.update(registered)
    monkeypatch.undo()
    clear()

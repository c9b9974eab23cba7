"""What all tests share: one thread, and the real recordings, where they are there."""

import logging
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ecg_lightning.data.beats import Beats
    from ecg_lightning.runs.schema import RunRecord

# Before torch is imported: on tensors as small as the tests' its threads mostly wait for each other, and on a busy
# machine for long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CONF = Path(__file__).parents[1] / "conf"
LONG = {"test_campaigns.py", "test_docs.py", "test_gpu_check.py", "test_wheel.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that no worker begins it when the others are done."""
    items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Take away the handlers that a command leaves which runs inside a test: their streams are closed with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    root.setLevel(level)


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


@pytest.fixture(scope="session", autouse=True)
def composed_once() -> Iterator[None]:
    """Hydra parses all files for each composing, and composes each job twice: a third of the time of the tests."""
    import yaml
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra.core.utils import JobRuntime

    kept: dict[Any, bytes] = {}

    def once(make: Callable[..., Any], key: Any) -> Any:
        if key not in kept:
            kept[key] = pickle.dumps(make())
        return pickle.loads(kept[key])

    def keeping(load: Callable[..., Any]) -> Callable[..., Any]:
        def load_config(self: FileConfigSource, config_path: str) -> Any:
            make = partial(load, self, config_path)
            return once(make, config_path) if self.path == str(CONF) else make()

        return load_config

    def composing(load: Callable[..., Any]) -> Callable[..., Any]:
        def load_configuration(self: ConfigLoaderImpl, *args: Any, **kwargs: Any) -> Any:
            make, search_path = partial(load, self, *args, **kwargs), str(self.config_search_path)
            key = (search_path, repr(args), repr(kwargs), Path.cwd(), str(JobRuntime.instance().conf))
            return once(make, key) if "file://" not in search_path else make()  # of a test's own files

        return load_configuration

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileConfigSource, "load_config", keeping(FileConfigSource.load_config))
        patch.setattr(ConfigLoaderImpl, "load_configuration", composing(ConfigLoaderImpl.load_configuration))
        patch.setattr(yaml, "SafeLoader", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        yield


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium that is there already, without a window; else a skip."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def command() -> Callable[..., int]:
    """Run ``ecg-lightning train …`` in this process, as each new one takes seconds to start; gives the exit status."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    from ecg_lightning.cli.train import main

    def run(*arguments: str, program: Sequence[str] = ("ecg-lightning", "train")) -> int:
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("COLUMNS", "300")
                patch.setattr(sys, "argv", [*program, *arguments])
                patch.setattr("hydra._internal.utils.is_under_debugger", lambda: False)  # which coverage looks like
                main(arguments)
        except SystemExit as leaving:
            return int(leaving.code or 0)
        finally:
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            logging.disable(logging.NOTSET)
        return 0

    return run


@pytest.fixture
def make_beats() -> Callable[..., "Beats"]:
    """Make beats whose signals do not matter, from labels and classes; keywords say where they come from."""

    def make(labels: Any, classes: tuple[str, ...], **origin: Any) -> "Beats":
        import numpy as np

        from ecg_lightning.data.beats import Beats

        return Beats(
            signals=np.ones((len(labels), 1, 3), dtype=np.float32),
            lengths=np.full(len(labels), 3),
            lead_names=("MLII",),
            labels=np.asarray(labels),
            classes=classes,
            fs=125.0,
            **origin,
        )

    return make


@pytest.fixture
def make_record() -> Callable[..., "RunRecord"]:
    """Make a run record; keywords replace its fields, `noise` makes the model worse, `split` names the protocol."""

    def make(task: str = "arrhythmia", *, noise: float = 0.4, split: str = "random", **fields: Any) -> "RunRecord":
        import numpy as np

        from ecg_lightning.data.protocol import LeftOut, Protocol
        from ecg_lightning.metrics.scoring import score
        from ecg_lightning.runs.schema import RunRecord, Validation

        classes = ("N", "S", "V", "F", "Q") if task == "arrhythmia" else ("normal", "MI")
        generator = np.random.default_rng(7)
        labels = np.arange(400) % len(classes)
        raw = np.eye(len(classes))[labels] + noise * generator.random((400, len(classes)))
        test = score(labels, raw / raw.sum(axis=1, keepdims=True), classes, None if task == "arrhythmia" else "MI")
        seed, model = fields.get("seed", 1234), fields.get("model", "cnet")
        sides = {"train": 18, "validation": 4, "test": 22}
        protocols = {
            "random": {"by": "beats", "test_fraction": 0.2},
            "patient": {"by": "patients", "test_fraction": 0.2, "patients": sides},
            "ds1_ds2": {
                "by": "records",
                "patients": sides,
                "left_out": (LeftOut(reason="paced", records=("102",), beats=9),),
            },
        }
        protocol: dict[str, Any] = {"name": split, "seed": seed, "validation_fraction": 0.1, **protocols[split]}
        filled: dict[str, Any] = {
            "task": task,
            "model": model,
            "baseline": False,
            "n_parameters": 53957,
            "dataset": "kaggle_mitbih" if task == "arrhythmia" else "kaggle_ptbdb",
            "synthetic": False,
            "fingerprint": "0123456789abcdef",
            "classes": classes,
            "class_map": "AAMI EC57 with e and j in N" if task == "arrhythmia" else "MI by reason for admission",
            "protocol": Protocol(**protocol),
            "n": {"train": 3000, "validation": 300, "test": 400},
            "augmentation": "none",
            "resampling": "none",
            "loss": "cross_entropy",
            "transfer": "none",
            "precision": "32-true",
            "seed": seed,
            "epochs": 50,
            "best_epoch": 41,
            "wall_s": 812.3,
            "monitor": "val/macro_f1",
            "val": Validation(macro_f1=0.91),
            "test": test,
            "config": {"model": {"name": model}, "seed": seed, "split": {"seed": "${seed}"}},
        }
        return RunRecord(**filled | fields)

    return make


@pytest.fixture
def leave_run(tmp_path: Path, make_record: Callable[..., "RunRecord"]) -> Callable[..., Path]:
    """Leave a run's folder with its record; `config` is added to its configuration, other keywords are fields."""

    def leave(name: str, task: str = "arrhythmia", *, config: dict[str, Any] | None = None, **fields: Any) -> Path:
        record = make_record(task, **{"seed": 0} | fields)
        record = record.model_copy(update={"config": {**record.config, **(config or {})}})
        record.write(tmp_path / name / "scores.json")
        return tmp_path / name

    return leave


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Install a package with an entry point, and files by their paths, until the test ends."""
    import importlib
    from importlib import metadata

    from ecg_lightning.core import plugins
    from ecg_lightning.models import registry

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
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]
    registry._registered.clear()
    registry._registered.update(registered)
    monkeypatch.undo()
    clear()

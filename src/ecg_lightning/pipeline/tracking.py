"""What services such as MLflow get of a run: settings before the training, scores and files once it is filed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from ecg_lightning.core.provenance import WITHOUT_EFFECT, git_revision, without
from ecg_lightning.metrics.catalogue import PARTS, metric_at
from ecg_lightning.pipeline.build import Experiment
from ecg_lightning.runs.aggregate import Run
from ecg_lightning.runs.discover import tests_elsewhere
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training.loggers import Service

# In the run's folder. Not the predictions: they name records and patients beat by beat.
FILES = (".hydra/config.yaml", ".hydra/overrides.yaml", "checkpoints/best.ckpt", "scores.json", "metrics.csv", "*.html",
         "*.png")  # fmt: skip


@contextmanager
def tracked(experiment: Experiment) -> Iterator[Callable[[RunRecord], list[str]]]:
    """Open the run in the experiment's services, if any, and end it there however this block ends.

    What it gives is called with the record once the run's folder is whole, and returns where the run can be seen.
    `ConfigError` if a service does not answer.
    """
    services = [one for one in experiment.loggers if isinstance(one, Service)]
    folder, ending = experiment.output_dir, "FAILED"

    def keep(record: RunRecord) -> list[str]:
        if not services:
            return []
        scores = {f"{record.fold}/{name}": value for name, value in metrics_of(record.scores).items()}
        for test in tests_elsewhere(Run(folder=folder, record=record)):
            scores |= {f"{test.folder.name}/{name}": value for name, value in metrics_of(test.record.scores).items()}
        files = [file for pattern in FILES for file in sorted(folder.glob(pattern))]
        return [seen for one in services if (seen := one.finish(scores, record.steps or 0, files))]

    try:
        for service in services:
            service.start(_settings(experiment), _tags(experiment), experiment.datamodule.folds.protocol.sentence())
        del experiment  # whose beats and network need not outlive the training
        yield keep
        ending = "FINISHED"
    except KeyboardInterrupt:
        ending = "KILLED"
        raise
    finally:
        for service in services:
            service.close(ending)


def metrics_of(scores: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of the catalogue in the scores of a record, by names such as ``ec57/V/sensitivity``."""
    found = {}
    for key, value in _leaves(scores):
        with suppress(KeyError):
            metric_at(key[1:] if key[0] in PARTS else key)
            if value is not None:
                found["/".join(key)] = float(value)
    return found


def _leaves(nested: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _settings(experiment: Experiment) -> dict[str, Any]:
    """The settings that its metrics depend on, without those that are null and what the card only describes."""
    config = without(experiment.config, (*WITHOUT_EFFECT, "callbacks.best", "callbacks.last", "ckpt_path", "recipe"))
    return {
        "/".join(key): value
        for key, value in _leaves(config)
        if value is not None and key[-1] != "_target_" and "about" not in key
    }


def _tags(experiment: Experiment) -> dict[str, str]:
    config = experiment.config
    return {
        "model": config["model"]["name"],
        "dataset": config["dataset"]["name"],
        "split": experiment.datamodule.folds.protocol.name,
        "seed": str(config["seed"]),
        "git": git_revision() or "unknown",
        "synthetic": str(experiment.datamodule.beats.synthetic).lower(),
    }

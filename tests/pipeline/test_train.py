"""Whole runs, small, on simulated beats: what they leave, that it can be checked, that settings do what they say."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.stops import Terminated
from ecg_lightning.data.context import MORPHOLOGY, RHYTHM
from ecg_lightning.models import list_models, model_names, settings_of
from ecg_lightning.pipeline.build import build
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.evaluate import evaluate
from ecg_lightning.pipeline.train import train
from ecg_lightning.runs.predictions import read_predictions, score_predictions
from ecg_lightning.runs.schema import RunRecord
from ecg_lightning.training import trainer as trainer_module
from ecg_lightning.training.checkpoint import read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import NetworkEstimator, load_estimator
from ecg_lightning.training.tasks import CLASSES, make_task

CONF = Path(__file__).parents[2] / "conf"

TASKS = {name: make_task(name, classes) for name, classes in CLASSES.items()}
DATASETS = {"arrhythmia": "synthetic", "mi": "synthetic_mi"}

MakeConfig = Callable[..., Any]


@pytest.fixture(scope="module")
def make_config(tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Compose a run of seconds: overrides, then the folder where its files go."""
    cache = tmp_path_factory.mktemp("cache")

    def make(*overrides: str, output_dir: Path | None = None) -> Any:
        small = [
            "dataset=synthetic",
            "dataset.simulation.patients=6",
            "dataset.simulation.minutes=1",
            "trainer=cpu",
            "trainer.max_epochs=2",
            "report=none",
        ]
        folder = output_dir or tmp_path_factory.mktemp("run")
        return compose([*small, f"cache_dir={cache}", *overrides], output_dir=folder, config_dir=CONF)

    return make


@pytest.fixture(scope="module", params=list(TASKS))
def finished(request: pytest.FixtureRequest, make_config: MakeConfig) -> tuple[Any, RunRecord]:
    """One run of each task: its configuration and what `run` returned."""
    cfg = make_config(f"dataset={DATASETS[request.param]}")
    return cfg, train(cfg)


def test_the_files_of_a_run(finished: tuple[Any, RunRecord]) -> None:
    folder = Path(finished[0].output_dir)
    left = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert left == {
        "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv", "scores.json", "predictions.parquet",
    }  # fmt: skip
    curves = pd.read_csv(folder / "metrics.csv")
    assert sorted(set(curves["epoch"])) == [1, 2]


def test_the_record_states_what_its_scores_depend_on(finished: tuple[Any, RunRecord]) -> None:
    cfg, scores = finished
    assert RunRecord.read(Path(cfg.output_dir) / "scores.json") == scores
    classes = TASKS[cfg.task.name].classes
    assert (scores.task, scores.model, scores.protocol.name) == (cfg.task.name, "cnet", "random")
    assert (scores.baseline, scores.kind, scores.fold) == (False, "run", "test")
    assert (scores.seed, scores.epochs, scores.synthetic, scores.dataset) == (0, 2, True, DATASETS[scores.task])
    assert scores.wall_s is not None and scores.wall_s > 0
    assert scores.n_parameters == (53_957 if cfg.task.name == "arrhythmia" else 53_957 - 4 * 33)
    assert list(scores.test["per_class"]) == list(classes)
    for metrics in scores.test["per_class"].values():
        assert metrics.keys() >= {"precision", "recall", "f1", "support"}
    assert sum(metrics["support"] for metrics in scores.test["per_class"].values()) == scores.n["test"]
    fractions = [scores.val.macro_f1, scores.test["macro_f1"], scores.test["accuracy"]]
    if cfg.task.name == "mi":
        fractions += [scores.test["auroc"], scores.test["specificity"]]
    assert all(0 <= fraction <= 1 for fraction in fractions)


def test_every_metric_can_be_recomputed_from_the_predictions(finished: tuple[Any, RunRecord]) -> None:
    cfg, scores = finished
    file = Path(cfg.output_dir) / "predictions.parquet"
    assert score_predictions(file) == scores.test
    table, info = read_predictions(file)
    assert info.about["fingerprint"] == scores.fingerprint
    assert len(table) == scores.n["test"]
    assert not table.duplicated(["record", "sample"]).any()
    assert table[["record", "patient", "sample"]].notna().all(axis=None)


def test_the_best_checkpoint_alone_predicts_the_test_beats(finished: tuple[Any, RunRecord]) -> None:
    cfg, _ = finished
    folder = Path(cfg.output_dir)
    datamodule = build(cfg).datamodule
    beats = datamodule.beats.select(datamodule.folds.test)
    probabilities = load_estimator(read_checkpoint(folder), device="cpu").predict_proba(beats)
    table, _ = read_predictions(folder / "predictions.parquet")
    filed = table[[f"probability_{name}" for name in beats.classes]].to_numpy()
    np.testing.assert_array_equal(filed, probabilities)
    assert table["true"].tolist() == [beats.classes[label] for label in beats.known_labels]


def test_a_checkpoint_states_its_origin(finished: tuple[Any, RunRecord]) -> None:
    cfg, scores = finished
    checkpoint = torch.load(Path(cfg.output_dir) / "checkpoints" / "best.ckpt", weights_only=True)
    about = checkpoint["hyper_parameters"]["about"]
    assert about["classes"] == list(TASKS[cfg.task.name].classes)
    assert (
        checkpoint["hyper_parameters"]["input"]["fs"] == 125
        and len(checkpoint["hyper_parameters"]["input"]["leads"]) == 1
    )
    assert about["data"]["fingerprint"] == scores.fingerprint
    assert about["data"]["synthetic"] is True
    assert about["protocol"]["name"] == scores.protocol.name
    assert about["protocol"]["patients"] == scores.protocol.patients
    assert about["config"]["dataset"]["cut"]["rr_factor"] == 1.2
    assert about["config"]["optimizer"]["lr"] == cfg.optimizer.lr
    assert about["versions"]["torch"] == torch.__version__
    assert "git" in about
    assert checkpoint["ecg_lightning"]["scores"]["val/macro_f1"] == scores.val.macro_f1


def test_validation_selects_the_tested_checkpoint(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    # The highest loss is "best": the first one, so that the tested weights are not simply the last.
    monkeypatch.setattr("ecg_lightning.pipeline.settings._check_together", lambda plain: None)  # which refuses that
    highest = ("monitor=val/loss", "mode=max")
    cfg = make_config(*highest, "trainer.max_epochs=4", "optimizer.batch_size=32", "callbacks.averaging=null")
    scores = train(cfg)
    folder = Path(cfg.output_dir)
    epochs = pd.read_csv(folder / "metrics.csv").dropna(subset="val/loss").set_index("epoch")["val/loss"]
    assert scores.best_epoch == epochs.idxmax() < scores.epochs == 4
    assert scores.val.loss == pytest.approx(epochs.max())
    best, last = (torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert best["epoch"] + 1 == scores.best_epoch
    assert last["epoch"] + 1 == 4


def test_steps_are_rounded_to_whole_epochs_that_end_with_a_validation(make_config: MakeConfig) -> None:
    budget = ["trainer.max_epochs=null", "optimizer.steps=13", "optimizer.batch_size=100"]  # 4 batches an epoch
    scores = train(make_config(*budget, "callbacks.early_stopping=null"))
    assert (scores.epochs, scores.steps) == (3, 12)
    short = build(make_config("trainer.max_epochs=null", "optimizer.steps=413", "optimizer.batch_size=100"))
    assert isinstance(short.estimator, NetworkEstimator)
    trainer = short.estimator.trainer
    assert (trainer.max_epochs, trainer.check_val_every_n_epoch) == (102, 2)


def test_the_test_fold_can_stay_unused(make_config: MakeConfig) -> None:
    cfg = make_config("tested=validation", "trainer.max_epochs=1")
    scores = train(cfg)
    assert scores.fold == "validation"
    assert scores.test["macro_f1"] == pytest.approx(scores.val.macro_f1, abs=1e-6)
    assert len(pd.read_parquet(Path(cfg.output_dir) / "predictions.parquet")) == scores.n["validation"]
    with pytest.raises(ConfigError, match=r"tested=train.*test or validation"):
        train(make_config("tested=train"))


def watch_rows(monkeypatch: pytest.MonkeyPatch, step: str) -> list[list[int]]:
    """The rows of every batch that this step of the classifier gets from now on."""
    batches: list[list[int]] = []
    original = getattr(BeatClassifier, step)

    def watched(self: BeatClassifier, batch: Any, batch_idx: int) -> Any:
        batches.append(batch.rows.tolist())
        return original(self, batch, batch_idx)

    monkeypatch.setattr(BeatClassifier, step, watched)
    return batches


def test_the_test_fold_is_used_once_and_for_nothing_else(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {name: watch_rows(monkeypatch, name) for name in ("training_step", "validation_step", "test_step")}
    tests = []
    test = pl.Trainer.test
    monkeypatch.setattr(pl.Trainer, "test", lambda *args, **kwargs: (tests.append(1), test(*args, **kwargs))[1])
    cfg = make_config("augmentation.balance=0")  # draws each training beat once an epoch
    train(cfg)
    folds = build(cfg).datamodule.folds
    assert len(tests) == 1
    rows = {name: np.concatenate(batches) for name, batches in seen.items()}
    assert sorted(rows["test_step"]) == list(range(len(folds.test)))
    assert sorted(rows["training_step"]) == sorted([*folds.train, *folds.train])  # two epochs
    assert sorted(rows["validation_step"]) == sorted([*folds.validation, *folds.validation])
    assert len(np.unique(np.concatenate(list(folds.named().values())))) == sum(folds.sizes().values())


def test_the_same_seed_gives_the_same_weights_and_metrics(make_config: MakeConfig) -> None:
    # Dropout, transforms and the order of the beats are random.
    overrides = ["model=bigru", "model.width=16", "augmentation=light"]
    first, again, other = (make_config(*overrides, f"seed={seed}") for seed in (3, 3, 4))
    scores = [train(cfg) for cfg in (first, again, other)]
    weights = [
        torch.load(Path(cfg.output_dir) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for cfg in (first, again, other)
    ]
    same = {"wall_s": None, "started": None, "predictions_sha256": None, "config": {}}
    assert scores[0].model_copy(update=same) == scores[1].model_copy(update=same)
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])
    tables = [read_predictions(Path(cfg.output_dir) / "predictions.parquet")[0] for cfg in (first, again, other)]
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    assert not all(weights[0][name].equal(weights[2][name]) for name in weights[0])
    assert tables[0]["sample"].tolist() != tables[2]["sample"].tolist()  # the seed splits as well


# On the other task in test_evaluate.py.
@pytest.mark.parametrize("model", list_models())
def test_every_model_runs_on_infarction(model: str, make_config: MakeConfig) -> None:
    quick = ["model.max_iter=5"] * ("max_iter" in settings_of(model))
    cfg = make_config(
        f"model={model}", "dataset=synthetic_mi", "trainer.max_epochs=1", "++trainer.limit_train_batches=2", *quick
    )
    scores = train(cfg)
    again = evaluate(cfg.output_dir, cache_dir=Path(cfg.cache_dir), device="cpu")
    assert (again.test, again.val, again.n_parameters) == (scores.test, scores.val, scores.n_parameters)
    assert (scores.model, scores.task) == (model, "mi")
    assert scores.test["macro_f1"] == score_predictions(Path(cfg.output_dir) / "predictions.parquet")["macro_f1"]


def test_a_split_by_patient_tests_on_unseen_patients(make_config: MakeConfig) -> None:
    cfg = make_config("split=patient", "split.validation_fraction=0.25", "trainer.max_epochs=1")
    scores = train(cfg)
    assert scores.protocol.name == "patient"
    datamodule = build(cfg).datamodule
    patients = datamodule.beats.patients
    assert patients is not None
    sides = [set(patients[rows]) for rows in datamodule.folds.named().values()]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 6
    tested, _ = read_predictions(Path(cfg.output_dir) / "predictions.parquet")
    assert set(tested["patient"]) == sides[2]


EXPERIMENTS = {file.stem for file in (CONF / "experiment").glob("*.yaml")}


# The others start from the folder of a sweep, and from simulated people, as in test_sequence.py.
@pytest.mark.parametrize("name", sorted(EXPERIMENTS - {"published_transfer", "unseen_people"}))
def test_every_shipped_experiment_runs(name: str, make_config: MakeConfig) -> None:
    # Simulated patients are none of de Chazal's.
    listed = ("inter_patient", "cross_database", "weights_ds1", "ptbxl")
    divided = ["split=patient", "test_on=[]"] * name.startswith(listed)
    infarction = compose([f"experiment={name}"]).task.name == "mi"
    own = [*divided, *["dataset=synthetic_mi", "dataset.leads=[0]"] * infarction]
    cfg = make_config(f"experiment={name}", *own, "trainer.max_epochs=1", "++trainer.limit_train_batches=2")
    assert train(cfg).epochs == 1


def test_the_inter_patient_experiments_split_by_patient(make_config: MakeConfig) -> None:
    arrhythmia, infarction = (make_config(f"experiment={name}") for name in ("inter_patient", "inter_patient_mi"))
    assert (arrhythmia.task.name, arrhythmia.split.name, arrhythmia.tested) == ("arrhythmia", "ds1_ds2", "test")
    assert (infarction.task.name, infarction.split.protocol, infarction.split.n_folds) == ("mi", "patient", 5)


@pytest.mark.parametrize("name", sorted(file.stem for file in (CONF / "debug").glob("*.yaml")))
def test_every_debug_mode_runs(name: str, make_config: MakeConfig) -> None:
    cfg = make_config(f"debug={name}", "trainer.max_epochs=1", "dataset.simulation.minutes=0.8")
    scores = train(cfg)
    assert scores.epochs == 1
    assert (Path(cfg.output_dir) / "scores.json").exists()


def test_each_epoch_has_its_own_order_unless_batches_are_overfitted(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = watch_rows(monkeypatch, "training_step")
    train(make_config("optimizer.batch_size=100"))
    assert list(map(len, batches)) == [100, 100, 100, 19] * 2
    assert batches[:4] != batches[4:]
    batches.clear()
    train(make_config("debug=overfit", "trainer.max_epochs=2", "trainer.overfit_batches=2", "optimizer.batch_size=100"))
    assert list(map(len, batches)) == [100] * 4
    assert batches[:2] == batches[2:]


@pytest.mark.parametrize("callback", ["early_stopping", "averaging", "best", "progress"])
def test_null_removes_a_callback(callback: str, make_config: MakeConfig) -> None:
    cfg = make_config(f"callbacks.{callback}=null", "trainer.max_epochs=1")
    scores = train(cfg)
    assert scores.epochs == 1
    assert isinstance(scores.val.macro_f1, float)
    assert (Path(cfg.output_dir) / "checkpoints" / "best.ckpt").exists() == (callback != "best")


def test_training_stops_early_when_validation_no_longer_improves(make_config: MakeConfig) -> None:
    # A rate of nearly nothing improves nothing: two epochs more are waited for, and the last of the equals is kept.
    cfg = make_config("trainer.max_epochs=20", "optimizer.lr=1e-9", "callbacks.early_stopping.patience=2")
    scores = train(cfg)
    assert (scores.best_epoch, scores.epochs) == (3, 3)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task=mi"], "dataset synthetic is for task arrhythmia, not for task=mi"),
        (["task=arrhythmia", "dataset=synthetic_mi"], "dataset synthetic_mi is for task mi, not for task=arrhythmia"),
        (["model.name=resnet"], "'resnet'.*bigru, bilstm, cnet"),
        (["model=seq", "model.frame_length=10"], "frame_length=10 .* 187 samples"),
        (["dataset.cut.length=40"], "40 samples .* 5 blocks"),
        (["optimizer.schedule=cosine"], "schedule.*cosine.*one_cycle"),
        (["optimizer.batch_size=0"], "batch_size=0"),
        (["dataset.simulation.patients=1"], "patients=1"),
        (["split.protocol=leave_one_out"], "leave_one_out"),
        (["augmentation=light", "+augmentation.transforms.flip={}"], "flip.*time_stretch"),
        (["ckpt_path=nowhere/last.ckpt"], "ckpt_path=nowhere/last.ckpt"),
        (["monitor=val/f1"], "monitor=val/f1.*val/macro_f1.*val/accuracy.*val/loss"),
        (["trainer.accelerator=abacus"], "abacus"),
        (["model=majority", "+model.width=3"], "majority.*width"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_settings_that_do_not_fit_are_one_sentence_before_any_training(
    overrides: list[str], message: str, make_config: MakeConfig
) -> None:
    cfg = make_config(*overrides)
    with pytest.raises(ConfigError, match=message):
        train(cfg)
    assert not list(Path(cfg.output_dir).iterdir())


class Strike(pl.Callback):
    """Sends a signal in the middle of the third epoch, SIGTERM twice, as ``timeout`` does."""

    def __init__(self, number: int) -> None:
        self.numbers = [number] * (2 if number == signal.SIGTERM else 1)

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == 25:
            for number in self.numbers:
                signal.raise_signal(number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_resumes_to_the_same_weights(
    number: signal.Signals, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = ["model=bigru", "model.width=16", "model.dropout=0.2", "augmentation=light"]
    overrides = [*random, "trainer.max_epochs=4", "optimizer.batch_size=32"]
    whole, cfg = make_config(*overrides), make_config(*overrides)
    uninterrupted = train(whole)

    folder = Path(cfg.output_dir)
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        everything = trainer_module.instantiate_all
        patch.setattr(
            trainer_module,
            "instantiate_all",
            lambda group: everything(group) + ([Strike(number)] if "last" in group else []),
        )
        with pytest.raises(KeyboardInterrupt) as stop:
            train(cfg)
    assert isinstance(stop.value, Terminated) == (number == signal.SIGTERM)
    assert signal.getsignal(number) is handler
    last = folder / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert checkpoint["epoch"] == 2
    assert 25 <= checkpoint["global_step"] < 30
    assert not (folder / "scores.json").exists()

    resumed = train(make_config(*overrides, f"ckpt_path={last}", output_dir=folder))
    assert resumed.epochs == 4
    assert resumed.test == uninterrupted.test
    expected = torch.load(Path(whole.output_dir) / "checkpoints" / "last.ckpt", weights_only=True)
    found = torch.load(last, weights_only=True)
    assert found["global_step"] == expected["global_step"] == 40
    for state in ("state_dict", "current_model_state"):
        assert all(found[state][name].equal(weight) for name, weight in expected[state].items())


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_finished_run_resumed_elsewhere_is_tested_again(
    finished: tuple[Any, RunRecord], make_config: MakeConfig
) -> None:
    cfg, scores = finished
    last = Path(cfg.output_dir) / "checkpoints" / "last.ckpt"
    again = train(make_config(f"dataset={cfg.dataset.name}", f"ckpt_path={last}"))
    assert again.test == scores.test
    assert again.val == scores.val


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_constant_rate_can_be_resumed_for_longer_but_not_for_less(make_config: MakeConfig) -> None:
    constant = "optimizer.schedule=constant"
    cfg = make_config(constant)
    assert train(cfg).epochs == 2
    last = f"ckpt_path={Path(cfg.output_dir) / 'checkpoints' / 'last.ckpt'}"
    assert train(make_config(constant, last, "trainer.max_epochs=3")).epochs == 3
    with pytest.raises(ConfigError, match="has taken"):
        train(make_config(constant, last, "trainer.max_epochs=1"))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("trainer.max_epochs=3", "one-cycle"),
        ("trainer.max_epochs=1", "one-cycle"),
        ("optimizer.lr=0.1", "optimizer.lr=0.1"),
        ("split.test_fraction=0.5", "split.test_fraction"),
        ("seed=1", "seed"),
    ],
)
def test_a_run_is_resumed_with_its_own_schedule_and_split_alone(
    other: str, said: str, finished: tuple[Any, RunRecord], make_config: MakeConfig
) -> None:
    cfg, _ = finished
    last = Path(cfg.output_dir) / "checkpoints" / "last.ckpt"
    with pytest.raises(ConfigError, match=said):
        train(make_config(f"dataset={cfg.dataset.name}", f"ckpt_path={last}", other))


@pytest.mark.parametrize("name", model_names())
def test_every_network_runs_with_full_context(name: str, make_config: MakeConfig) -> None:
    cfg = make_config(f"model={name}", "context=full", "trainer.max_epochs=1", "augmentation.mixup=0.2")
    scores = train(cfg)
    assert (scores.context.rhythm, scores.context.morphology, scores.context.before) == (True, True, 0.272)
    stated = torch.load(Path(cfg.output_dir) / "checkpoints" / "best.ckpt", weights_only=True)["hyper_parameters"]
    assert (stated["input"]["length"], stated["input"]["context"]) == (221, [*RHYTHM, *MORPHOLOGY])


@pytest.mark.parametrize("context", ["rr", "p_wave", "full"])
def test_kaggles_files_have_no_context(context: str, tmp_path: Path) -> None:
    cfg = compose(["dataset=kaggle_mitbih", "trainer=cpu", f"context={context}"], output_dir=tmp_path, config_dir=CONF)
    with pytest.raises(ConfigError, match=r"kaggle_mitbih holds single beats.*context=none.*database of recordings"):
        train(cfg)


REFERENCES = sorted(set(list_models()) - set(model_names()))


def test_a_baseline_is_tested_on_the_beats_of_a_network(make_config: MakeConfig) -> None:
    network, reference = (
        train(make_config(f"model={model}", "split=patient", "trainer.max_epochs=1")) for model in ("cnet", "majority")
    )
    for key in ("n", "protocol", "fingerprint", "classes", "dataset"):
        assert getattr(network, key) == getattr(reference, key)
    assert (network.baseline, reference.baseline) == (False, True)
    assert (reference.epochs, reference.best_epoch, reference.loss, reference.precision) == (None, None, None, None)


def test_a_baseline_writes_the_files_of_a_network_without_curves(make_config: MakeConfig) -> None:
    cfg = make_config("model=logistic_regression", "model.max_iter=5")
    train(cfg)
    folder = Path(cfg.output_dir)
    left = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert left == {"checkpoints/best.ckpt", "scores.json", "predictions.parquet"}


def test_resampling_reaches_a_baseline(make_config: MakeConfig) -> None:
    alike = ["augmentation=random_over", "augmentation.resampling.counts=null"]
    cfg = make_config("model=majority", *alike)
    assert train(cfg).resampling == "random_over"
    table, _ = read_predictions(Path(cfg.output_dir) / "predictions.parquet")
    np.testing.assert_allclose(table["probability_F"], 0.2, atol=1e-3)


@pytest.mark.parametrize("model", REFERENCES)
@pytest.mark.parametrize(
    "overrides",
    [
        ["transfer=head_only", "transfer.checkpoint=run"],
        ["transfer.checkpoint=run"],
        ["ckpt_path=a.ckpt"],
        ["compile=true"],
    ],
    ids=lambda overrides: overrides[-1],
)
def test_settings_that_a_model_cannot_use_are_refused(
    model: str, overrides: list[str], make_config: MakeConfig
) -> None:
    cfg = make_config(f"model={model}", *overrides)
    with pytest.raises(ConfigError) as error:
        train(cfg)
    assert model in str(error.value) and overrides[-1].partition("=")[0].partition(".")[0] in str(error.value)
    assert not (Path(cfg.output_dir) / "scores.json").exists()


def test_compilation_that_does_not_work_is_refused_before_beats_are_read(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_compiler(_: Any) -> None:
        raise RuntimeError("No working C++ compiler found\nin these places")

    monkeypatch.setattr("torch.compile", without_compiler)
    cfg = make_config("model=cnet", "compile=true", "data_dir=nowhere")
    with pytest.raises(ConfigError, match=r"compile=true .*C\+\+ compiler found; install"):
        train(cfg)


@pytest.mark.parametrize("model", ["cnet", "gradient_boosting"])
def test_one_experiment_runs_networks_and_baselines(model: str, make_config: MakeConfig) -> None:
    quick = ["model.max_iter=2"] * (model == "gradient_boosting")
    cfg = make_config("experiment=inter_patient", f"model={model}", "split=patient", "trainer.max_epochs=1", *quick)
    train(cfg)
    stated = read_checkpoint(cfg.output_dir).require()["model"]
    assert stated.get("dropout") == (0.3 if model == "cnet" else None)
    assert cfg.dropout == 0.3


@pytest.mark.parametrize(
    ("capabilities", "setting", "chosen"),
    [
        ({"avx512_bf16": True}, "auto", "bf16-mixed"),
        ({"amx_bf16": True}, "auto", "bf16-mixed"),
        ({"avx512_bf16": False}, "auto", "32-true"),
        ({"avx512_bf16": True}, "32-true", "32-true"),
    ],
)
def test_bfloat16_is_chosen_where_the_cpu_has_it(
    capabilities: dict[str, bool], setting: str, chosen: str, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    experiment = build(make_config(f"trainer.precision={setting}"))
    assert experiment.config["trainer"]["precision"] == chosen  # what the record and the checkpoint keep
    assert isinstance(experiment.estimator, NetworkEstimator)
    assert experiment.estimator.trainer.precision == chosen


def test_a_recipe_sets_what_it_states_for_its_network_and_task_alone(make_config: MakeConfig) -> None:
    def stated(*overrides: str) -> tuple[Any, ...]:
        experiment = build(make_config(*overrides))
        assert isinstance(experiment.estimator, NetworkEstimator)
        initialisation = experiment.estimator.classifier.hparams["model"].get("initialisation")
        return initialisation, experiment.config["optimizer"]

    assert stated("recipe=fast", "model=cnet")[0] == "he"
    assert stated("recipe=fast", "model=cnet")[1]["anneal"] == "linear"
    assert stated("recipe=fast", "model=cnet", "model.initialisation=uniform")[0] == "uniform"
    assert stated("model=cnet")[0] == "uniform"
    assert stated("recipe=fast", "model=seq") == stated("model=seq")


def test_dropout_is_that_of_the_network_unless_it_is_set(make_config: MakeConfig) -> None:
    estimators = [
        build(make_config("model=bigru", *overrides)).estimator for overrides in ([], ["dropout=0.45"], ["dropout=0"])
    ]
    assert all(isinstance(one, NetworkEstimator) for one in estimators)
    settings = [one.classifier.hparams["model"]["dropout"] for one in estimators if isinstance(one, NetworkEstimator)]
    assert settings == [0.2, 0.45, 0]

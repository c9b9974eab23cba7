"""Settings out of range, of another type, unknown or absent: one sentence that names setting, value and range."""

import pytest
from omegaconf import DictConfig, open_dict

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.pipeline.config import compose
from ecg_lightning.pipeline.settings import validated

WRONG = {
    "seed=-1": "0",
    "seed=4294967296": "4294967296",
    "seed=true": "whole number",
    "seed=null": "whole number",
    "optimizer.batch_size=1.5": "whole number",
    "optimizer.batch_size=0": "1",
    "optimizer.lr=abc": "number above 0",
    "optimizer.lr=-1": "number above 0",
    "optimizer.lr=inf": "number above 0",
    "optimizer.weight_decay=-0.1": "0",
    "optimizer.warmup=1": "below 1",
    "optimizer.steps=-10": "1",
    "optimizer.schedule=cosine": "one_cycle",
    "trainer.max_epochs=0": "1",
    "trainer.devices=0": "1",
    "trainer.gradient_clip_val=-1": "0",
    "trainer.precision=[16]": "text",
    "callbacks.averaging.decay=5": "below 1",
    "callbacks.early_stopping.patience=-1": "0",
    "callbacks.best._target_=best": "text",
    "dataset.cut.fs=nan": "from 1 to 100000",
    "dataset.cut.fs=0": "from 1",
    "dataset.cut.length=1": "2",
    "dataset.cut.margin=-1": "0",
    "dataset.cut.scaling=median": "record",
    "dataset.leads=[]": "list",
    "dataset.leads=MLII": "list",
    "dataset.recorded_fs=-360": "from 1",
    "context.before=-0.1": "0",
    "context.rhythm=1": "true or false",
    "split.protocol=leave_one_out": "patient",
    "split.test_fraction=1": "below 1",
    "split.validation_fraction=0": "above 0",
    "split.fold=-1": "0",
    "split.fold=1.0": "whole number",
    "split.n_folds=1": "2",
    "split.train_size=0": "above 0",
    "split.train_size=1.5": "at most 1",
    "split.train_unit=records": "patients",
    "model.kernel=abc": "whole number",
    "model.blocks=-1": "1",
    "model.dropout=1": "below 1",
    "dropout=-0.1": "0",
    "augmentation.balance=-1": "0",
    "augmentation.balance_patients=-1": "0",
    "augmentation.balance_databases=much": "number",
    "augmentation.mixup=nan": "0",
    "augmentation.transforms.noise.sigma=-1": "0",
    "augmentation.transforms.noise.sigma=much": "number",
    "augmentation.transforms.cutout=0.1": "settings",
    "augmentation.resampling.method=smot": "smote",
    "loss.label_smoothing=1": "below 1",
    "loss.focal=-2": "0",
    "transfer.mode=all": "finetune",
    "transfer.backbone_lr=0": "above 0",
    "transfer.frozen_epochs=1.5": "whole number",
    "task.fill_up_to=0": "above 0",
    "monitor=val/f1": "val/macro_f1",
    "mode=best": "max",
    "tested=train": "validation",
    "report=long": "brief",
    "compile=1": "true or false",
    "ckpt_path=7": "text",
    "+optimizer.momentum=0.9": "weight_decay",
    "+split.k=3": "n_folds",
    "+recipe.mi.cnet.epochs=3": "steps",
    "+dataset.licence=mine": "title, task, about",
    "dataset.reader=[]": "text",
    "dataset.about.tried=never": "real recordings",
    "dataset.gaps=fill": "leave_out",
    "+typo=1": "seed",
    "optimizer.lr=11": "at most 10",
    "loss.focal=11": "from 0 to 10",
    "optimizer.steps=1099511627776": "from 1 to 1000000000",
    "trainer.devices=1000000000": "1024",
    "+trainer.limit_train_batches=0": "above 0",
    "+trainer.max_time=long": "DD:HH:MM:SS",
    "model.channels=1000000": "from 1 to 1024",
    "dataset.name=../mitbih": "without slashes",
    "output_dir=''": "text of 1 to 1000 characters",
    "callbacks.best.filename=mine": "best",
    "callbacks.best.dirpath=mine": "run/checkpoints",
    "callbacks.early_stopping.monitor=val/f1": "val/macro_f1",
    "monitor=val/loss": "a loss is min",
    "tested=cross_validation": "operating_point.folds",
    "operating_point.folds=5": "split=patient",
}


@pytest.fixture(scope="module")
def composed() -> DictConfig:
    return compose(output_dir="run")


def changed(cfg: DictConfig, override: str) -> DictConfig:
    """As composing with this override does, without its half second."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    parsed = OverridesParser.create().parse_override(override)
    changed = cfg.copy()
    with open_dict(changed):
        OmegaConf.update(changed, parsed.key_or_group, parsed.value())
    return changed


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_setting_is_one_sentence_with_its_name_value_and_range(override: str, composed: DictConfig) -> None:
    with pytest.raises(ConfigError) as error:
        validated(changed(composed, override))
    message = str(error.value)
    setting, _, value = override.lstrip("+").partition("=")
    assert message.startswith(f"{setting}=")
    assert value in message or value in ("[16]", "[]")
    assert WRONG[override] in message.removeprefix(f"{setting}={value}")
    assert "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    "override",
    [
        "seed=0", "optimizer.lr=1", "trainer.max_epochs=3", "trainer.devices=auto", "trainer.precision=16",
        "+trainer.limit_train_batches=2", "callbacks.averaging=null", "callbacks=null", "logger=null",
        "+callbacks.mine={_target_: my.Callback, x: 3}", "split.train_size=100", "split.train_size=0.1", "split.fold=0",
        "dataset.leads=[[MLII,II],1]", "dataset.recorded_fs=null", "augmentation.transforms.noise=null",
        "augmentation.resampling={method: smote, counts: {S: 500}}", "model={name: mine, widths: [3, 4], dropout: all}",
        "dropout=0.3", "+dataset.own.url=here", "dataset.about.licence=mine",
    ],
)  # fmt: skip
def test_valid_settings_pass(override: str, composed: DictConfig) -> None:
    assert validated(changed(composed, override))


def test_a_setting_that_is_absent_or_has_no_value_is_named(composed: DictConfig) -> None:
    cfg = composed.copy()
    with open_dict(cfg):
        del cfg.optimizer.lr
    with pytest.raises(ConfigError, match=r"optimizer\.lr.*number above 0"):
        validated(cfg)
    with pytest.raises(ConfigError, match=r"transfer\.checkpoint"):
        validated(changed(composed, "transfer.checkpoint='${hydra:sweep.dir}/run'"))

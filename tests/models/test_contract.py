"""What every registered network must do with the settings of its YAML; a new network is found by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from pytorch_lightning.utilities.types import TRAIN_DATALOADERS
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.batches import Batch
from ecg_lightning.models import BeatModel, create_model, list_models, model_names
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.tasks import CLASSES, make_task

TASKS = {name: make_task(name, classes) for name, classes in CLASSES.items()}

CONF = Path(__file__).parents[2] / "conf" / "model"
LENGTH = 187
NETWORKS = model_names()

MakeBeats = Callable[..., tuple[Tensor, Tensor]]


def settings_of(name: str) -> dict[str, Any]:
    settings = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"), resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def build(name: str, *, n_outputs: int = 5, **changes: Any) -> BeatModel:
    torch.manual_seed(0)
    return create_model(**(settings_of(name) | changes), n_outputs=n_outputs, length=LENGTH)


def test_networks_and_baselines_and_their_yaml_files_belong_together() -> None:
    files = {file.stem for file in CONF.glob("*.yaml")}
    assert files == set(list_models())
    assert all(settings_of(name)["name"] == name for name in files)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("name", NETWORKS)
def test_one_logit_row_a_beat_and_features_of_the_declared_width(name: str, task: Any, make_beats: MakeBeats) -> None:
    model = build(name, n_outputs=task.n_outputs).eval()
    beats = make_beats(3)
    features = model.forward_features(*beats)
    assert features.shape == (3, model.width)
    assert model(*beats).shape == (3, task.n_outputs)
    assert model.n_outputs == task.n_outputs
    torch.testing.assert_close(model.forward_head(features), model(*beats))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_several_leads_and_sees_each(name: str, make_beats: MakeBeats) -> None:
    model = build(name, leads=3).eval()
    signals, lengths = make_beats(2, leads=3)
    with torch.no_grad():
        logits = model(signals, lengths)
        assert logits.shape == (2, 5)
        for lead in range(3):
            other = signals.clone()
            other[:, lead] = other[:, lead].flip(1)
            assert not torch.allclose(model(other, lengths), logits, atol=1e-6)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS.keys())
@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_a_small_batch_with_all_its_weights(name: str, task: Any, make_beats: MakeBeats) -> None:
    model = build(name, n_outputs=task.n_outputs, dropout=0.0)
    signals, lengths = make_beats(16)
    labels = torch.arange(16) % len(task.classes)
    signals[labels == 1] *= 0.3
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss = cross_entropy(task.class_logits(model(signals, lengths)), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    without = [at for at, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without
    assert losses[-1] < losses[0] - 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_a_beats_output_does_not_depend_on_its_batch(name: str, make_beats: MakeBeats) -> None:
    model = build(name).eval()
    signals, lengths = make_beats(9)
    with torch.no_grad():
        together = model(signals, lengths)
        alone = torch.cat([model(signals[[at]], lengths[[at]]) for at in range(9)])
        others, other_lengths = signals.clone(), lengths.clone()
        others[1:], other_lengths[1:] = 0.5, LENGTH
        beside_others = model(others, other_lengths)[0]
        order = torch.tensor([4, 8, 0, 2, 6, 1, 3, 7, 5])
        permuted = model(signals[order], lengths[order])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[0], beside_others, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[order], permuted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_in_training_too_a_beat_sees_only_itself(name: str, make_beats: MakeBeats) -> None:
    # Batch normalisation would be found out here: the gradient of one beat's output reaches no other beat.
    model = build(name, dropout=0.0).train()
    signals, lengths = make_beats(4)
    model(signals.requires_grad_(), lengths)[1].sum().backward()
    assert signals.grad is not None
    assert signals.grad[1].any()
    assert not signals.grad[[0, 2, 3]].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_time_runs_inside_the_beat(name: str, make_beats: MakeBeats) -> None:
    model = build(name).eval()
    signals, lengths = make_beats(2)
    with torch.no_grad():
        assert not torch.allclose(model(signals, lengths), model(signals.flip(2), lengths), atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_head_is_the_declared_modules_and_nothing_else(name: str, make_beats: MakeBeats) -> None:
    model = build(name)
    before = {at: weight.clone() for at, weight in model.state_dict().items()}
    backbone = [id(weight) for at, weight in model.named_parameters() if at.split(".")[0] not in model.head_names]
    model.reset_classifier(1)
    after = model.state_dict()
    assert after.keys() == before.keys()
    changed = {at for at in after if after[at].shape != before[at].shape or not after[at].equal(before[at])}
    assert changed == {at for at in after if at.split(".")[0] in model.head_names}
    kept = [id(weight) for at, weight in model.named_parameters() if at.split(".")[0] not in model.head_names]
    assert kept == backbone
    assert model.n_outputs == 1
    assert model(*make_beats(2)).shape == (2, 1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("filled", [0, 1, 20, LENGTH])
def test_any_amount_of_padding_gives_finite_outputs_and_gradients(name: str, filled: int) -> None:
    model = build(name, dropout=0.0)
    signals = torch.zeros(2, 1, LENGTH)
    signals[..., :filled] = torch.linspace(0.1, 1.0, filled)
    logits = model(signals, torch.full((2,), filled))
    logits.square().sum().backward()
    assert logits.isfinite().all()
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_padding_tells_a_beats_length(name: str, make_beats: MakeBeats) -> None:
    # The beat's length is information: the same 119 samples followed by signal or by padding are not the same beat.
    model = build(name).eval()
    beat = make_beats(1)[0].clamp(min=0.01)
    shorter = beat.clone()
    shorter[..., 119:] = 0
    with torch.no_grad():
        whole, cut_off = model(beat, torch.tensor([LENGTH])), model(shorter, torch.tensor([119]))
        assert not torch.allclose(whole, cut_off, atol=1e-5)


class _Fit(pl.LightningDataModule):
    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self.batch = batch

    def train_dataloader(self) -> TRAIN_DATALOADERS:
        return DataLoader([self.batch], batch_size=None)


@pytest.mark.filterwarnings("ignore:.*no `val_dataloader`")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_survives_a_checkpoint(name: str, task: str, make_beats: MakeBeats, tmp_path: Path) -> None:
    optimizer = {"lr": 1e-3, "weight_decay": 0.01, "schedule": "constant", "warmup": 0.2}
    classifier = BeatClassifier(task=task, model=settings_of(name), input={"length": LENGTH}, optimizer=optimizer)
    beats = make_beats(8)
    batch = Batch(*beats, torch.arange(8) % 2, torch.arange(8))
    trainer = pl.Trainer(
        max_steps=1,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(classifier, _Fit(batch))
    trainer.save_checkpoint(tmp_path / "network.ckpt")

    checkpoint = torch.load(tmp_path / "network.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["model"] == settings_of(name)
    loaded = BeatClassifier.load_from_checkpoint(tmp_path / "network.ckpt", weights_only=True).eval()
    with torch.no_grad():
        assert loaded(*beats).equal(classifier.eval()(*beats))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_context_into_its_head(name: str, make_beats: MakeBeats) -> None:
    alone = build(name, dropout=0.0)
    torch.manual_seed(0)
    model = create_model(**(settings_of(name) | {"dropout": 0.0}), n_outputs=5, length=LENGTH, n_context=4)
    for at, weight in alone.state_dict().items():
        assert alone.is_head(at) or model.state_dict()[at].equal(weight), "the backbone is the same"
    new = {at.partition(".")[0] for at in model.state_dict().keys() - alone.state_dict().keys()}
    assert new == {"fc_context"} <= set(model.head_names)

    beats, context = make_beats(6), torch.randn(6, 4)
    logits = model(*beats, context)
    assert logits.shape == (6, 5)
    logits.sum().backward()
    assert model.fc_context.weight.grad is not None and model.fc_context.weight.grad.any()
    others = context.clone()
    others[2, 0] -= 1
    changed = (model.eval()(*beats, others) - model(*beats, context)).abs().amax(dim=1) > 1e-6
    assert changed.tolist() == [False, False, True, False, False, False]
    for given, wants in ((None, model), (context, alone), (context[:, :2], model)):
        with pytest.raises(ConfigError, match=r"takes [04] context values of each beat, [024] were given"):
            wants(*beats, given)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_takes_beats_that_begin_before_their_r_peak(name: str) -> None:
    before: Any = OmegaConf.load(CONF.parent / "context" / "p_wave.yaml").before
    length = LENGTH + round(before * 125)
    model = create_model(**settings_of(name), n_outputs=5, length=length)
    assert model(torch.rand(2, 1, length), torch.full((2,), length)).shape == (2, 5)

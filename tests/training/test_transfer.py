"""Transfer: what each mode loads, freezes and trains, for every network, and what does not fit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from ecg_lightning.core.errors import CheckpointError, ConfigError
from ecg_lightning.models import BeatModel, create_model, model_names
from ecg_lightning.training.callbacks.averaging import ExponentialAverage
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.transfer import MODES, Transfer, load_weights

Make = Callable[..., Any]
OPTIMIZER = {"lr": 0.01, "weight_decay": 0.1, "schedule": "constant", "warmup": 0.2}
SOME = Path("some.ckpt")


def pretrained(name: str, **settings: Any) -> Checkpoint:
    """Weights of a network for arrhythmia, as a plain state dict."""
    torch.manual_seed(1)
    return Checkpoint(path=SOME, weights=create_model(name, n_outputs=5, length=187, **settings).state_dict())


def transferred(name: str, mode: str, **settings: Any) -> BeatClassifier:
    """A classifier of infarction that starts from `pretrained`."""
    torch.manual_seed(2)
    transfer = {"mode": mode, "checkpoint": str(SOME), **settings}
    classifier = BeatClassifier(
        task="mi", model={"name": name}, input={"length": 187}, optimizer=OPTIMIZER, transfer=transfer, about={}
    )
    load_weights(classifier.model, name, classifier.transfer, pretrained(name))
    return classifier


def weights(model: BeatModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode not in ("none", "rhythm")])
@pytest.mark.parametrize("name", model_names())
def test_each_mode_loads_and_trains_what_it_says(name: str, mode: str, make_trainer: Make, some_beats: Any) -> None:
    source = pretrained(name).weights
    classifier = transferred(name, mode)
    start = weights(classifier.model)
    head = {weight for weight in start if classifier.model.is_head(weight)}
    kept = {"fc1.weight", "fc1.bias"} if mode == "last_layer" else set()
    assert all(start[weight].equal(source[weight]) for weight in (start.keys() - head) | kept)
    assert not any(start[weight].shape == source[weight].shape and start[weight].equal(source[weight])
                   for weight in head - kept)  # fmt: skip

    modes: list[bool] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            modes.extend(module.training for part, module in classifier.model.named_children() if part != "head_dropout"
                         and not classifier.model.is_head(part))  # fmt: skip

    make_trainer(callbacks=[Watch(), ExponentialAverage(decay=0.9)], max_epochs=2).fit(classifier, some_beats)
    end = weights(classifier.model)
    changed = {weight for weight in start if not start[weight].equal(end[weight])}
    assert changed >= head
    if mode == "finetune":
        assert changed == start.keys()
        assert all(modes)
    else:
        assert changed == head
        assert not any(modes)


def test_all_weights_are_in_the_optimizer_from_the_start_and_the_backbone_has_its_rate() -> None:
    classifier = transferred("cnet", "finetune", backbone_lr=0.3, frozen_epochs=1)
    rates = {
        parameter: group["lr"]
        for group in classifier.configure_optimizers().param_groups
        for parameter in group["params"]
    }
    assert len(rates) == len(list(classifier.model.parameters()))
    for name, parameter in classifier.model.named_parameters():
        assert rates[parameter] == pytest.approx(0.01 if classifier.model.is_head(name) else 0.003)


@pytest.mark.parametrize("resumes", [False, True])
def test_a_backbone_learns_once_its_frozen_epochs_are_over(
    resumes: bool, make_trainer: Make, some_beats: Any, tmp_path: Path
) -> None:
    classifier = transferred("bigru", "finetune", frozen_epochs=2)
    start = weights(classifier.model)
    learnt: list[bool] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            now = weights(classifier.model)
            learnt.append(any(not now[n].equal(w) for n, w in start.items() if not classifier.model.is_head(n)))
            if resumes and trainer.global_step == 8:  # in the middle of the third epoch
                trainer.save_checkpoint(tmp_path / "last.ckpt")

    make_trainer(callbacks=[Watch()], max_epochs=3).fit(classifier, some_beats)
    assert learnt == [False] * 6 + [True] * 3
    if resumes:
        saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
        classifier = transferred("bigru", "finetune", frozen_epochs=2)
        make_trainer(max_epochs=3).fit(classifier, some_beats, ckpt_path=tmp_path / "last.ckpt", weights_only=True)
        assert classifier.trainer.global_step == 9
        assert not any(weight.equal(saved[f"model.{name}"]) for name, weight in weights(classifier.model).items())


def older_cnet() -> dict[str, Tensor]:
    """What the older script-based system saves of its CNet."""
    generator = torch.Generator().manual_seed(3)
    shapes: dict[str, tuple[int, ...]] = {"c1.weight": (32, 1, 5), "c1.bias": (32,)}
    for block in range(5):
        for convolution in ("c1", "c2"):
            shapes[f"cresids.{block}.{convolution}.weight"] = (32, 32, 5)
            shapes[f"cresids.{block}.{convolution}.bias"] = (32,)
    shapes |= {"fc1.weight": (32, 64), "fc1.bias": (32,), "fc2.weight": (5, 32), "fc2.bias": (5,)}
    return {name: torch.randn(shape, generator=generator) / 10 for name, shape in shapes.items()}


def test_the_older_systems_cnet_gives_the_same_logits(tmp_path: Path) -> None:
    theirs = older_cnet()
    torch.save(theirs, tmp_path / "older.pth")
    checkpoint = read_checkpoint(tmp_path / "older.pth")
    model = create_model("cnet", n_outputs=5, length=187)
    transfer = Transfer(mode="last_layer", checkpoint="older.pth")
    load_weights(model, "cnet", transfer, checkpoint)
    assert model.state_dict()["blocks.4.conv2.weight"].equal(theirs["cresids.4.c2.weight"])
    model.load_state_dict(checkpoint.weights)

    beats = torch.rand(4, 1, 187, generator=torch.Generator().manual_seed(4))
    conv, pool = torch.nn.functional.conv1d, torch.nn.functional.max_pool1d
    x = conv(beats, theirs["c1.weight"], theirs["c1.bias"])
    for block in range(5):
        first, second = (
            (theirs[f"cresids.{block}.{one}.weight"], theirs[f"cresids.{block}.{one}.bias"]) for one in ("c1", "c2")
        )
        residual = conv(conv(x, *first, padding=2).relu(), *second, padding=2)
        x = pool((x + residual).relu(), kernel_size=5, stride=2)
    hidden = torch.nn.functional.linear(x.flatten(1), theirs["fc1.weight"], theirs["fc1.bias"]).relu()
    logits = torch.nn.functional.linear(hidden, theirs["fc2.weight"], theirs["fc2.bias"])
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(beats, torch.full((4,), 187)), logits)


def fitting(name: str, checkpoint: Checkpoint, mode: str = "head_only", **settings: Any) -> None:
    model = create_model(name, n_outputs=1, length=187, **settings)
    load_weights(model, name, Transfer(mode=mode, checkpoint="some.ckpt"), checkpoint)


def stated(name: str) -> Checkpoint:
    return Checkpoint(path=SOME, weights=pretrained("cnet").weights, hyperparameters={"model": {"name": name}})


@pytest.mark.parametrize("theirs", model_names())
@pytest.mark.parametrize("ours", model_names())
def test_weights_of_another_network_are_refused(ours: str, theirs: str) -> None:
    if ours == theirs:
        fitting(ours, pretrained(theirs))
        return
    with pytest.raises(CheckpointError, match=rf"^some.ckpt does not fit {ours}: [^\n]* named as those of {theirs}$"):
        fitting(ours, pretrained(theirs))
    with pytest.raises(CheckpointError, match=f"holds the model {theirs}, .* a {ours}; choose model={theirs}$"):
        fitting(ours, stated(theirs))


@pytest.mark.parametrize("theirs", ["ensemble", "gradient_boosting"])
def test_what_is_no_network_starts_none_and_the_advice_is_not_to_choose_it(theirs: str) -> None:
    with pytest.raises(CheckpointError, match=f"holds the model {theirs}, .* a cnet; give a run of model=cnet$"):
        fitting("cnet", stated(theirs))


def test_other_widths_are_refused_and_named() -> None:
    with pytest.raises(CheckpointError, match=r"stem.weight is 16×1×5 there and 32×1×5 here. Give the network the"):
        fitting("cnet", pretrained("cnet", channels=16))
    # The head's width matters only to the mode that keeps it.
    fitting("cnet", pretrained("cnet", hidden=8))
    with pytest.raises(CheckpointError, match=r"fc1.weight is 8×64 there and 32×64 here"):
        fitting("cnet", pretrained("cnet", hidden=8), mode="last_layer")


@pytest.mark.parametrize("width", [96, 64])
def test_a_recurrent_network_of_other_width_is_not_taken_for_its_kin(width: int) -> None:
    fitting("bilstm", pretrained("bilstm", width=width), width=width)


def test_missing_and_surplus_weights_are_named() -> None:
    some = dict(pretrained("cnet").weights)
    missing = {name: weight for name, weight in some.items() if name != "stem.bias"}
    with pytest.raises(CheckpointError, match=r"missing stem.bias; surplus nothing"):
        fitting("cnet", Checkpoint(path=SOME, weights=missing))
    with pytest.raises(CheckpointError, match=r"missing nothing; surplus extra.weight"):
        fitting("cnet", Checkpoint(path=SOME, weights=some | {"extra.weight": torch.ones(1)}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "head_only"}, "transfer=head_only has nothing to start from: give transfer.checkpoint"),
        ({"mode": "freeze"}, r"transfer.mode=freeze.*none.*head_only.*last_layer.*finetune"),
        ({"mode": "finetune", "checkpoint": "x", "backbone_lr": 0.0}, r"transfer.backbone_lr=0.0: expected .* above 0"),
        (
            {"mode": "finetune", "checkpoint": "x", "frozen_epochs": -1},
            r"transfer.frozen_epochs=-1: expected .* from 0",
        ),
        ({"mode": "head_only", "checkpoint": "x", "frozen_epochs": 2}, "choose transfer=finetune"),
        ({"mode": "none", "backbone_lr": 0.1}, "choose transfer=finetune"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Transfer(**settings)


@pytest.mark.parametrize(("theirs", "own"), [(0, 4), (4, 0), (4, 2)])
def test_a_backbone_moves_between_networks_with_and_without_context(theirs: int, own: int) -> None:
    checkpoint = pretrained("cnet", n_context=theirs)
    model = create_model("cnet", n_outputs=1, length=187, n_context=own)
    for mode in ("head_only", "finetune"):
        load_weights(model, "cnet", Transfer(mode=mode, checkpoint=str(SOME)), checkpoint)
        assert model.state_dict()["stem.weight"].equal(checkpoint.weights["stem.weight"])
    with pytest.raises(CheckpointError, match=r"does not fit cnet: .*fc_context"):
        load_weights(model, "cnet", Transfer(mode="last_layer", checkpoint=str(SOME)), checkpoint)


@pytest.mark.parametrize("name", model_names())
def test_the_weights_of_one_lead_start_a_network_of_several_that_sees_equal_leads_as_the_one(name: str) -> None:
    torch.manual_seed(2)
    one = create_model(name, n_outputs=5, length=187).eval()
    source = Checkpoint(path=SOME, weights=one.state_dict())
    three = create_model(name, n_outputs=5, length=187, leads=3).eval()
    settings = {"mode": "finetune", "checkpoint": str(SOME)}
    with pytest.raises(CheckpointError, match="there and"):
        load_weights(three, name, Transfer(**settings), source)
    load_weights(three, name, Transfer(leads="repeated", **settings), source)
    signals, lengths = torch.rand(4, 1, 187), torch.full((4,), 187)
    expected = one.forward_features(signals, lengths)
    torch.testing.assert_close(three.forward_features(signals.expand(-1, 3, -1), lengths), expected)

"""What each network promises beyond the contract, the pieces they share, and the register."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.models import BeatModel, create_model, model_names, register
from ecg_lightning.models.layers import (
    Conv1d,
    FirstConv1d,
    as_images,
    frame,
    max_pool_relu,
    mean_and_max,
    signal_mask,
)
from ecg_lightning.models.registry import _registered

CONF = Path(__file__).parents[2] / "conf" / "model"


def test_cnet_has_the_published_number_of_parameters() -> None:
    assert create_model("cnet", n_outputs=5, length=187).n_parameters == 53_957


@pytest.mark.parametrize(("name", "most"), [("seq", 700_000), ("bilstm", 750_000), ("bigru", 750_000)])
def test_networks_stay_small(name: str, most: int) -> None:
    settings: Any = OmegaConf.load(CONF / f"{name}.yaml")
    assert create_model(**settings, n_outputs=5, length=187).n_parameters <= most


def test_a_frozen_network_has_as_many_parameters() -> None:
    model = create_model("cnet", n_outputs=5, length=187).requires_grad_(False)
    assert model.n_parameters == 53_957


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 0, 1), (1, 2, 1), (2, 1, 1), (1, 2, 2), (1, "same", 1)]
)
def test_conv1d_is_torchs_conv1d_on_signals_laid_out_as_images(stride: int, padding: int | str, dilation: int) -> None:
    torch.manual_seed(0)
    ours = Conv1d(3, 4, 5, stride=stride, padding=padding, dilation=dilation)
    theirs = nn.Conv1d(3, 4, 5, stride=stride, padding=padding, dilation=dilation)
    theirs.load_state_dict(ours.state_dict())
    signals = torch.rand(2, 3, 40)
    torch.testing.assert_close(ours(signals.unsqueeze(2)).squeeze(2), theirs(signals))


@pytest.mark.parametrize("leads", [1, 3])
def test_the_first_convolution_is_torchs_too(leads: int) -> None:
    torch.manual_seed(0)
    ours, theirs = FirstConv1d(leads, 4, 5), nn.Conv1d(leads, 4, 5)
    theirs.load_state_dict(ours.state_dict())
    signals = torch.rand(2, leads, 40)
    torch.testing.assert_close(ours(signals).squeeze(2), theirs(signals))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("n_times", [5, 6, 7, 8, 183])
def test_pooling_and_its_gradient_are_torchs_compiled_or_not(
    n_times: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    images = torch.randn(3, 4, 1, n_times, requires_grad=True)
    expected = F.max_pool2d(images.relu(), (1, 5), stride=(1, 2))
    weights = torch.randn_like(expected)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: compiled)
    pooled = max_pool_relu(images)
    torch.testing.assert_close(pooled, expected, rtol=0, atol=0)
    gradients = [torch.autograd.grad(one, images, weights)[0] for one in (pooled, expected)]
    torch.testing.assert_close(*gradients)


def test_he_initialisation_tells_beats_apart_before_training() -> None:
    spreads = {}
    for how in ("uniform", "he"):
        torch.manual_seed(0)
        network = create_model("cnet", n_outputs=5, length=187, initialisation=how)
        with torch.no_grad():
            spreads[how] = float(network(torch.rand(64, 1, 187), torch.full((64,), 187)).std(dim=0).mean())
    assert spreads["he"] > 5 * spreads["uniform"]


def test_frames_are_consecutive_pieces_of_one_beat() -> None:
    signals = torch.arange(12.0).reshape(1, 2, 6)
    assert frame(signals, 3).tolist() == [[[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]]]
    assert as_images(signals).shape == (1, 2, 1, 6)


def test_frames_hold_signal_until_a_beat_ends_whatever_its_values() -> None:
    frames = frame(torch.zeros(5, 1, 10), 2)
    assert signal_mask(torch.tensor([7, 0, 10, 2, 3]), frames).tolist() == [
        [True, True, True, True, False],
        [True, False, False, False, False],  # something must, in an empty beat
        [True, True, True, True, True],
        [True, False, False, False, False],
        [True, True, False, False, False],
    ]


def test_pooling_leaves_the_padding_out() -> None:
    steps = torch.tensor([[[1.0, -5.0], [3.0, -7.0], [100.0, 100.0]]])
    assert mean_and_max(steps, torch.tensor([[True, True, False]])).tolist() == [[2, -6, 3, -5]]


@pytest.mark.parametrize("name", ["seq", "bilstm", "bigru"])
def test_frames_that_do_not_divide_a_beat_are_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(ConfigError, match=r"frame_length=10 .* 187 samples.* 1, 11, 17, 187$"):
        create_model(name, n_outputs=5, length=187, frame_length=10)


@pytest.mark.parametrize("name", ["seq", "bilstm", "bigru"])
@pytest.mark.parametrize("frame_length", [11, 17, 187])
def test_other_frames_that_fit(name: str, frame_length: int) -> None:
    model = create_model(name, n_outputs=5, length=187, frame_length=frame_length)
    assert model(torch.rand(2, 1, 187), torch.tensor([187, 60])).shape == (2, 5)


@pytest.mark.parametrize("name", ["bilstm", "bigru"])
def test_recurrent_networks_of_other_depth_and_with_embedded_frames(name: str) -> None:
    model = create_model(name, n_outputs=5, length=187, depth=1, embedding=8, width=4, dropout=0.1)
    assert model.width == 16
    assert model(torch.rand(2, 1, 187), torch.tensor([187, 60])).shape == (2, 5)


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ConfigError, match="kernel=4 is even"):
        create_model("cnet", n_outputs=5, length=187, kernel=4)


def test_more_blocks_than_a_beat_has_samples_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="187 samples are too short for 6 blocks"):
        create_model("cnet", n_outputs=5, length=187, blocks=6)


def test_an_unknown_network_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no network 'resnet'; choose one of bigru, bilstm, cnet, seq"):
        create_model("resnet", n_outputs=5, length=187)


def test_an_unknown_setting_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"cnet has no setting depth, kernels; it has blocks, channels, dropout, "):
        create_model("cnet", n_outputs=5, length=187, kernels=5, depth=2)


@pytest.fixture
def fifth_network() -> Iterator[str]:
    @register("fifth")
    class Fifth(BeatModel):
        def __init__(self, *, n_outputs: int = 5, length: int = 187, leads: int = 1, width: int = 4) -> None:
            super().__init__(width=width, hidden=3, n_outputs=n_outputs, dropout=0.0)
            self.project = nn.Linear(leads * length, width)

        def forward_features(self, signals: Tensor, lengths: Tensor) -> Tensor:
            features: Tensor = self.project(signals.flatten(1))
            return features

    yield "fifth"
    del _registered["fifth"]


def test_a_fifth_network_is_one_class_with_a_name(
    fifth_network: str, make_beats: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    assert fifth_network in model_names()
    model = create_model(fifth_network, n_outputs=2, length=187, width=6)
    assert model(*make_beats(3)).shape == (3, 2)
    with pytest.raises(ConfigError, match="fifth has no setting depth; it has width"):
        create_model(fifth_network, n_outputs=2, length=187, depth=1)

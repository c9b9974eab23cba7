"""Layers and functions that several networks share: faster 1-D convolution and pooling, framing, pooling without the
padding."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError


class Conv1d(nn.Conv1d):
    """`torch.nn.Conv1d`, computed on signals laid out as images one pixel high: ``[b, channels, 1, t]``.

    Parameters and results are those of `torch.nn.Conv1d`. Two-dimensional convolutions know the channels-last memory
    layout, in which oneDNN and cuDNN keep the channels of one time step together; on a CPU that is a third faster.
    """

    def forward(self, signals: Tensor) -> Tensor:
        """``[b, in_channels, 1, t]`` → ``[b, out_channels, 1, t']``."""
        padding = self.padding if isinstance(self.padding, str) else (0, self.padding[0])
        stride, dilation = (1, self.stride[0]), (1, self.dilation[0])
        return F.conv2d(signals, self.weight.unsqueeze(2), self.bias, stride, padding, dilation, self.groups)


class FirstConv1d(Conv1d):
    """A `Conv1d` without padding of signals, which have few channels: a matrix product of their windows.

    oneDNN's convolutions take twice as long for so few, and return another memory layout than the next one needs.
    """

    def forward(self, signals: Tensor) -> Tensor:
        """``[b, leads, t]`` → ``[b, out_channels, 1, t']``, channels last."""
        if torch.compiler.is_exporting():  # other programs know convolutions
            return super().forward(as_images(signals))
        windows = signals.unfold(2, self.kernel_size[0], 1).transpose(1, 2).flatten(2)
        return F.linear(windows, self.weight.flatten(1), self.bias).transpose(1, 2).unsqueeze(2)


def max_pool_relu(images: Tensor) -> Tensor:
    """Max-pooling of 5 samples with stride 2, then ReLU, of ``[b, channels, 1, t]``: ``(t - 5) // 2 + 1`` samples.

    This order gives the same numbers as the other one, with half of the work for ReLU.
    """
    if torch.compiler.is_exporting():  # onnxruntime joins ReLU with the addition before it
        return F.max_pool2d(images.relu(), kernel_size=(1, 5), stride=(1, 2))
    if torch.compiler.is_compiling():
        pooled: Tensor = _MaxPoolReLU.apply(images)  # type: ignore[no-untyped-call]
        return pooled
    return F.max_pool2d(images, kernel_size=(1, 5), stride=(1, 2)).relu_()


class _MaxPoolReLU(torch.autograd.Function):
    """`max_pool_relu` in slices, which torch.compile turns into one vectorised loop each for values and gradients.

    From max-pooling itself it generates code for a CPU that is slower than without compilation.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        signals = images.squeeze(2).transpose(1, 2)  # [b, t, channels], contiguous
        n_times, n = signals.shape[1], (signals.shape[1] - 5) // 2 + 1
        highest = signals[:, : 2 * n - 1 : 2].float()
        place = torch.zeros_like(highest)  # of the highest in its window; 5 where ReLU stops the gradient
        for k in range(1, 5):
            sample = signals[:, k : k + 2 * n - 1 : 2].float()
            place = torch.where(sample > highest, float(k), place)
            highest = torch.maximum(highest, sample)
        place = torch.where(highest > 0, place, 5.0).to(images.dtype)
        ctx.n_times = n_times
        ctx.save_for_backward(F.pad(place, (0, 0, 2, (n_times + 1) // 2 - n), value=5.0))
        return highest.relu().to(images.dtype).transpose(1, 2).unsqueeze(2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (place,), n_times = ctx.saved_tensors, ctx.n_times
        gradient = gradient.squeeze(2).transpose(1, 2)
        # Two windows before the first and as many as are needed after the last, so that each sample is in three or two.
        gradient = F.pad(gradient, (0, 0, 2, place.shape[1] - 2 - gradient.shape[1]))

        def of(k: int, n: int) -> Tensor:  # what the samples get from the windows that begin k before them
            windows = slice(2 - k // 2, 2 - k // 2 + n)
            return torch.where(place[:, windows].float() == k, gradient[:, windows].float(), 0.0)

        n_even, n_odd = (n_times + 1) // 2, n_times // 2
        signals = gradient.new_empty(len(gradient), n_times, gradient.shape[2])
        signals[:, ::2] = (of(0, n_even) + of(2, n_even) + of(4, n_even)).to(gradient.dtype)
        signals[:, 1::2] = (of(1, n_odd) + of(3, n_odd)).to(gradient.dtype)
        return signals.transpose(1, 2).unsqueeze(2)


def as_images(signals: Tensor) -> Tensor:
    """Signals ``[b, leads, t]`` → ``[b, leads, 1, t]``, for `Conv1d`."""
    return signals.unsqueeze(2)


def frame(signals: Tensor, frame_length: int) -> Tensor:
    """Cut beats ``[b, leads, length]`` into frames ``[b, length // frame_length, leads, frame_length]``."""
    frames: Tensor = signals.unflatten(2, (-1, frame_length))  # type: ignore[no-untyped-call]
    return frames.transpose(1, 2)


def check_frames(length: int, frame_length: int) -> None:
    """Raise `ConfigError` if frames do not divide a beat."""
    if length % frame_length:
        fitting = ", ".join(str(n) for n in range(1, length + 1) if length % n == 0)
        raise ConfigError(
            f"frame_length={frame_length} does not divide a beat of {length} samples; choose one of {fitting}"
        )


def signal_mask(lengths: Tensor, frames: Tensor) -> Tensor:
    """Which frames ``[b, n_frames, leads, frame_length]`` begin before the beat's end ``[b]``: ``[b, n_frames] bool``.

    The first always counts, which keeps pooling finite for an empty beat.
    """
    starts = torch.arange(frames.shape[1], device=frames.device) * frames.shape[3]
    return starts < lengths.clamp(min=1)[:, None]


def mean_and_max(steps: Tensor, mask: Tensor) -> Tensor:
    """Pool ``[b, t, width]`` over the steps that count (`mask`, ``[b, t] bool``) → ``[b, 2 · width]``."""
    weight = mask.unsqueeze(2).to(steps.dtype)
    mean = (steps * weight).sum(dim=1) / weight.sum(dim=1)
    highest = steps.masked_fill(~mask.unsqueeze(2), float("-inf")).amax(dim=1)
    return torch.cat([mean, highest], dim=1)

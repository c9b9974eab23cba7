"""`cnet`: residual convolutional network of Kachuee, Fazeli & Sarrafzadeh, ICHI 2018 (arXiv 1805.00794), figure 3."""

from torch import Tensor, nn

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.layers import Conv1d, FirstConv1d, max_pool_relu
from ecg_lightning.models.registry import register
from ecg_lightning.models.settings import Initialisation


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to the input, ReLU, max-pooling of 5 samples with stride 2."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv1 = Conv1d(channels, channels, kernel, padding=kernel // 2)
        self.conv2 = Conv1d(channels, channels, kernel, padding=kernel // 2)

    def forward(self, signals: Tensor) -> Tensor:
        """``[b, channels, 1, t]`` → ``[b, channels, 1, (t - 5) // 2 + 1]``."""
        residual = self.conv2(self.conv1(signals).relu_())
        return max_pool_relu(residual + signals)


@register("cnet")
class CNet(BeatModel):
    """A convolution without padding, `blocks` residual blocks, then the head 64 → 32 → `n_outputs`.

    With 187 samples of one lead and 5 outputs it has exactly 53,957 parameters. The paper has no dropout.

    Args:
        channels: width of every convolution.
        kernel: length of every convolution, odd.
        blocks: number of residual blocks, each halving the time axis.
        initialisation: of the weights before training: ``uniform`` or None, which is PyTorch's, or ``he`` for layers
            before ReLU (He et al., ICCV 2015, equation 10), with biases of 0, which learns faster.
    """

    def __init__(
        self, *, n_outputs: int = 5, length: int = 187, leads: int = 1,
        channels: int = 32, kernel: int = 5, blocks: int = 5,
        hidden: int = 32, dropout: float = 0.0, initialisation: Initialisation | None = None,
    ) -> None:  # fmt: skip
        if kernel % 2 == 0:
            raise ConfigError(f"kernel={kernel} is even; a residual block keeps its length only with an odd one")
        steps = length - kernel + 1
        for _ in range(blocks):
            steps = (steps - 5) // 2 + 1
        if steps < 1:
            raise ConfigError(f"beats of {length} samples are too short for {blocks} blocks, each halving them")
        super().__init__(width=channels * steps, hidden=hidden, n_outputs=n_outputs, dropout=dropout)
        self.stem = FirstConv1d(leads, channels, kernel)
        self.blocks = nn.Sequential(*(ResidualBlock(channels, kernel) for _ in range(blocks)))
        if initialisation == "he":
            for module in (self.stem, *self.blocks.modules()):
                if isinstance(module, nn.Conv1d):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            for name, parameter in self.named_parameters():
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)

    def forward_features(self, signals: Tensor, lengths: Tensor) -> Tensor:
        """Beats ``[b, leads, length]`` → features ``[b, channels · steps left]``; lengths are not used."""
        features: Tensor = self.blocks(self.stem(signals)).flatten(1)
        return features

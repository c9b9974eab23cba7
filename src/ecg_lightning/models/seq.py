"""`seq`: an encoder-decoder over the frames of one beat, after Mousavi & Afghah, ICASSP 2019 (arXiv 1812.07421)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.layers import Conv1d, as_images, check_frames, frame, signal_mask
from ecg_lightning.models.registry import register


class Attention(nn.Module):
    """Additive attention of a query over encoded steps (Bahdanau, Cho & Bengio, ICLR 2015, section A.1.2)."""

    def __init__(self, width: int, query_width: int, units: int) -> None:
        super().__init__()
        self.keys = nn.Linear(width, units, bias=False)
        self.query = nn.Linear(query_width, units)
        self.score = nn.Linear(units, 1, bias=False)

    def forward(self, query: Tensor, steps: Tensor, mask: Tensor) -> Tensor:
        """Query ``[b, query_width]``, steps ``[b, t, width]``, mask ``[b, t]`` → context ``[b, width]``."""
        scores = self.score(torch.tanh(self.keys(steps) + self.query(query).unsqueeze(1))).squeeze(2)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=1)
        return torch.einsum("bt,btw->bw", weights, steps)


@register("seq")
class Seq2Seq(BeatModel):
    """Convolutions over each frame, a bidirectional LSTM encoder over the frames, an attending LSTM decoder.

    The paper maps a sequence of beats to a sequence of labels. Here the sequence is the frames of one beat and the
    output is its one label, so the decoder takes a single step: it starts from the encoder's last states and attends
    over the frames that hold signal. Its state and the attended context are the features.

    Args:
        frame_length: samples a frame; must divide `length`.
        channels: width of the first convolution; the second and third double it.
        width: units of each direction of the encoder, and of the decoder.
        dropout: in the head and before the encoder.
    """

    def __init__(
        self, *, n_outputs: int = 5, length: int = 187, leads: int = 1,
        frame_length: int = 17, channels: int = 32, width: int = 128,
        hidden: int = 64, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        check_frames(length, frame_length)
        super().__init__(width=3 * width, hidden=hidden, n_outputs=n_outputs, dropout=dropout)
        self.frame_length = frame_length
        self.conv1 = Conv1d(leads, channels, 5, padding=2)
        self.conv2 = Conv1d(channels, 2 * channels, 3, padding=1)
        self.conv3 = Conv1d(2 * channels, 4 * channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.LSTM(4 * channels, width, batch_first=True, bidirectional=True)
        self.bridge_hidden = nn.Linear(2 * width, width)
        self.bridge_cell = nn.Linear(2 * width, width)
        self.attention = Attention(2 * width, width, units=width)
        self.decoder = nn.LSTMCell(2 * width, width)

    def embed(self, frames: Tensor) -> Tensor:
        """Frames ``[b, n, leads, frame_length]`` → one vector each, ``[b, n, 4 · channels]``."""
        images = as_images(frames.flatten(0, 1))
        features = self.conv1(images).contiguous(memory_format=torch.channels_last)
        # The maximum of rectified values is the rectified maximum, of which there are fewer.
        features = F.max_pool2d(features, (1, 2)).relu_()
        features = F.max_pool2d(self.conv2(features), (1, 2)).relu_()
        each: Tensor = self.conv3(features).amax(dim=(2, 3)).relu()
        vectors: Tensor = each.unflatten(0, (-1, frames.shape[1]))  # type: ignore[no-untyped-call]
        return vectors

    def forward_features(self, signals: Tensor, lengths: Tensor) -> Tensor:
        """Beats ``[b, leads, length]`` and lengths ``[b]`` → decoder state and attended context, ``[b, 3 · width]``."""
        frames = frame(signals, self.frame_length)
        steps, (hidden, cell) = self.encoder(self.dropout(self.embed(frames)))
        state = torch.tanh(self.bridge_hidden(torch.cat([hidden[0], hidden[1]], dim=1)))
        memory = self.bridge_cell(torch.cat([cell[0], cell[1]], dim=1))
        context = self.attention(state, steps, signal_mask(lengths, frames))
        state, _ = self.decoder(context, (state, memory))
        return torch.cat([state, context], dim=1)

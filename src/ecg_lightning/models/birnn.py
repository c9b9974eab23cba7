"""`bilstm` and `bigru`: bidirectional recurrent networks over the frames of a beat.

The recurrence runs along time inside each beat (Schuster & Paliwal, IEEE Trans. Signal Process. 45(11), 1997; LSTM:
Hochreiter & Schmidhuber 1997; GRU: Cho et al. 2014).
"""

from typing import ClassVar

from torch import Tensor, nn

from ecg_lightning.models.contract import BeatModel
from ecg_lightning.models.layers import check_frames, frame, mean_and_max, signal_mask
from ecg_lightning.models.registry import register


class BiRNN(BeatModel):
    """Frames, embedded, through bidirectional recurrent layers, pooled over the frames that hold signal.

    A frame holds the samples of all leads. The recurrence sees the padding, which shows the length of a beat (the
    backward direction starts from it); pooling does not, because padding would dilute the mean and can be the maximum.

    Args:
        frame_length: samples a frame; must divide `length`.
        embedding: units of a linear layer with ReLU on each frame; 0 for none.
        width: units of each direction of each layer.
        depth: number of bidirectional layers.
        dropout: in the head and between the layers.
    """

    cell: ClassVar[type[nn.LSTM] | type[nn.GRU]]

    def __init__(
        self, *, n_outputs: int = 5, length: int = 187, leads: int = 1,
        frame_length: int = 17, embedding: int = 128, width: int = 128, depth: int = 2,
        hidden: int = 64, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        check_frames(length, frame_length)
        super().__init__(width=4 * width, hidden=hidden, n_outputs=n_outputs, dropout=dropout)
        self.frame_length = frame_length
        samples = leads * frame_length
        self.embed = nn.Sequential(nn.Linear(samples, embedding), nn.ReLU()) if embedding else nn.Identity()
        self.rnn = self.cell(
            embedding or samples,
            width,
            num_layers=depth,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if depth > 1 else 0.0,
        )

    def forward_features(self, signals: Tensor, lengths: Tensor) -> Tensor:
        """Beats ``[b, leads, length]``, lengths ``[b]`` → mean and maximum over frames of both directions,
        ``[b, 4 · width]``."""
        frames = frame(signals, self.frame_length)
        steps, _ = self.rnn(self.embed(frames.flatten(2)))
        return mean_and_max(steps, signal_mask(lengths, frames))


@register("bilstm")
class BiLSTM(BiRNN):
    """`BiRNN` of long short-term memory cells."""

    cell = nn.LSTM


@register("bigru")
class BiGRU(BiRNN):
    """`BiRNN` of gated recurrent units."""

    cell = nn.GRU

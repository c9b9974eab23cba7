"""`InputSpec`: what a trained model takes of each beat."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, Self

from pydantic import Field

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.options import options
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.context import Context
from ecg_lightning.data.windows import Cut


@options("input")
class InputSpec:
    """What a model takes of each beat: enough to make the same of a recording.

    Attributes:
        length: samples of a beat, padding included.
        fs: sampling rate in Hz; None where it is not known.
        leads: names, positions or lists of alternatives, one entry a lead.
        context: names of the context values of each beat.
        cut: settings of the window: ``before``, ``rr_factor``, ``margin`` and ``scaling``.
    """

    length: Annotated[int, Field(ge=0, le=1_000_000)]
    fs: Annotated[float, Field(ge=1, le=100_000)] | None = None
    leads: Annotated[tuple[int | str | Sequence[int | str], ...], Field(min_length=1, max_length=1000)] = (0,)
    context: Annotated[tuple[str, ...], Field(max_length=1000)] = ()
    cut: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, beats: Beats, leads: Sequence[Any]) -> Self:
        """The input that these beats are, cut from the requested leads."""
        cut = beats.origin.get("cut", beats.origin)
        return cls(
            length=beats.length,
            fs=beats.fs,
            leads=tuple(leads),
            context=beats.context_names,
            cut={key: cut[key] for key in ("rr_factor", "margin", "before", "scaling") if key in cut},
        )

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`."""
        fields: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in plain.items()}
        return cls(**fields)

    def plain(self) -> dict[str, Any]:
        """As dicts, lists, text and numbers."""
        return {**vars(self), "leads": list(self.leads), "context": list(self.context), "cut": dict(self.cut)}

    def check(self, beats: Beats, *, whose: str) -> None:
        """Raise `ConfigError` for beats of another length, sampling rate, number of leads or context."""
        leads = (self.leads, beats.lead_names) if len(self.leads) != len(beats.lead_names) else ((), ())
        for own, given in (
            [f"{length} samples" for length in (self.length, beats.length)],
            [f"{fs:g} Hz" for fs in (self.fs or beats.fs, beats.fs)],
            [f"{len(names)} leads ({', '.join(map(str, names))})" for names in leads],
            [f"context ({', '.join(names) or 'none'})" for names in (self.context, beats.context_names)],
        ):
            if own != given:
                raise ConfigError(
                    f"{whose} takes beats with {own}, these have {given}; choose the source and the context of its "
                    "training"
                )

    @property
    def how(self) -> Cut:
        """How beats are cut for this input; ConfigError if that is not known."""
        if self.fs is None or not self.cut:
            raise ConfigError("the model does not state how its beats were cut, so no recording can be cut for it")
        return Cut(fs=self.fs, length=self.length, **self.cut)

    @property
    def wanted_context(self) -> Context:
        """The choices that give this context; ConfigError for one that this version does not compute."""
        wanted = Context.of_names(self.context)
        if len(wanted.names(list(map(str, self.leads)))) != len(self.context):
            raise ConfigError(f"this version does not compute the context of the model: {', '.join(self.context)}")
        return wanted

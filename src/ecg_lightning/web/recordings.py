"""What the viewer shows: recordings that are read, annotated and kept ready while the page asks for parts of them."""

import base64
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from ecg_lightning.core.errors import ConfigError, DataError, sentence_of
from ecg_lightning.data.beats import FloatArray
from ecg_lightning.data.labels import BEAT_SYMBOLS, ClassMap, make_class_map
from ecg_lightning.data.readers import FORMATS, open_recording
from ecg_lightning.data.readers.annotations import OTHERS
from ecg_lightning.data.readers.base import RecordingFile
from ecg_lightning.metrics import rhythm
from ecg_lightning.metrics.matching import match
from ecg_lightning.pipeline.annotate import Progress
from ecg_lightning.report.recording_page import recording_page
from ecg_lightning.web import corrections
from ecg_lightning.web.corrections import Corrections
from ecg_lightning.web.signals import TILE, Signals

UNCERTAIN = 0.6  # confidence below which a beat is an event of its own
BEFORE_S, AFTER_S = 0.3, 0.5  # around the R peaks of beats that are drawn over each other
MOST_OVERLAID = 400  # beats
KEPT = 4  # recordings at once; others are closed, and read again when they are asked for


class Annotate(Protocol):
    """Finds and classifies the beats of a file, as `ecg_lightning.annotate` returns them."""

    def __call__(self, path: Path, *, progress: Progress) -> pd.DataFrame: ...


class Viewed:
    """A recording that is being read and annotated in a thread of its own; what is there can be asked for already.

    Attributes:
        beats: as `annotate` returns them; None until they are found.
        error: why there will be none, or no further signals; None if all is well.
    """

    def __init__(self, name: str, path: Path, session: "Session") -> None:
        self.name, self.path, self.session = name, path, session
        self.file: RecordingFile = open_recording(path, **session.settings)
        self.signals = Signals(self.file)
        self.beats: pd.DataFrame | None = None
        self.error: str | None = None
        self._annotated, self._is_closed = 0.0, False
        Thread(target=self._work, name=f"viewer of {name}", daemon=True).start()

    def _work(self) -> None:
        try:
            self.signals.fill()
            with self.session.annotating:
                self.beats = self.session.annotate(self.path, progress=self._progress)
        except _ClosedError:
            pass
        except Exception as error:  # of this recording; the viewer goes on with others
            self.error = sentence_of(error)

    def _progress(self, part: float) -> None:
        self._annotated = part
        if self._is_closed:
            raise _ClosedError

    def close(self) -> None:
        """End its work at the next step."""
        self._is_closed = True

    def state(self) -> dict[str, Any]:
        """What the page needs first, and how far the work has come (0 to 1)."""
        file, signals = self.file, self.signals
        about = {} if self.beats is None else self.beats.attrs["about"]
        return {
            "name": self.name,
            "duration_s": file.n_frames / file.frame_rate,
            "start": file.start,
            "leads": list(file.lead_names),
            "fs": signals.fs,
            "samples": signals.n,
            "levels": signals.n_levels,
            "tile": TILE,
            "read": signals.filled / signals.n if signals.n else 1.0,
            "annotated": 1.0 if self.beats is not None else min(self._annotated, 0.999),
            "error": self.error,
            "annotators": self.annotators,
            "used_leads": about.get("leads", []),
            "unusable": about.get("unusable", []),
        }

    @property
    def found(self) -> pd.DataFrame:
        """The beats; DataError while there are none."""
        if self.beats is None:
            raise DataError(self.error or f"{self.name} is not annotated yet")
        return self.beats

    @cached_property
    def annotators(self) -> list[str]:
        """Who annotated the recording, by the files beside it; that of the session first."""
        others = {suffix.lstrip(".") for own in (*FORMATS.values(), OTHERS) for suffix in own}
        beside = (one.suffix.lstrip(".") for one in sorted(self.path.parent.glob(f"{_escaped(self.file.name)}.*")))
        found = [one for one in beside if one.isalpha() and one.lower() not in others]
        wanted = [self.session.reference] if self.session.reference else []
        return list(dict.fromkeys([*wanted, *found]))

    def beats_columns(self) -> dict[str, Any]:
        """The beats by column, packed; classes and flags as places in lists; and corrections that were saved before."""
        beats = self.found
        names = corrections.choices(beats.attrs["about"])
        model = [f"p_{name}" for name in beats.attrs["about"]["classes"]]
        flags, flag = np.unique(np.asarray(beats["flag"], dtype=str), return_inverse=True)
        table = self.session.output / f"{self.name}.csv"
        return {
            "classes": names,
            "flags": flags.tolist(),
            "fs": beats.attrs["about"]["fs"],  # of the clock of samples
            "columns": {
                "time_s": packed(beats["time_s"], np.float64),
                "sample": packed(beats["sample"], np.float64),
                "class": packed(_places(beats["class"], names), np.int8),
                "probabilities": packed(beats[model], np.float32),
                "confidence": packed(beats["confidence"], np.float32),
                "rr_s": packed(beats["rr_s"], np.float32),
                "quality": packed(beats["quality"], np.float32),
                "flag": packed(flag, np.uint8),
            },
            "saved": corrections.saved(beats, table).model_dump(),
        }

    def reference(self, annotator: str) -> dict[str, Any]:
        """The beats of an annotator, with the place of the found beat that each is (-1: none), and other annotations.

        DataError if there are none by this name.
        """
        if annotator not in self.annotators:
            raise DataError(f"{self.name} has no annotations by {annotator!r}")
        beats = self.found
        annotations, clock = self.file.annotations(annotator)
        names = corrections.choices(beats.attrs["about"])
        class_map: ClassMap = make_class_map(self.session.class_map or "aami")
        of_beats, labels = class_map.beats(annotations)
        symbols, symbol = np.unique(np.asarray(of_beats.symbols, dtype=str), return_inverse=True)
        of_class = np.array([*(names.index(one) if one in names else -1 for one in class_map.classes), -1])
        times = of_beats.samples / clock
        pairs = match(times, beats["time_s"].to_numpy(), 0.15)
        same = np.full(len(times), -1)
        same[pairs[:, 0]] = pairs[:, 1]
        others = [at for at, one in enumerate(annotations.symbols) if one not in BEAT_SYMBOLS]
        return {
            "symbols": symbols.tolist(),
            "columns": {
                "time_s": packed(times, np.float64),
                "class": packed(of_class[labels], np.int8),
                "symbol": packed(symbol, np.uint8),
                "match": packed(same, np.int32),
            },
            "notes": [
                {"time_s": float(annotations.samples[at] / clock), "symbol": annotations.symbols[at],
                 "note": annotations.notes[at]} for at in others
            ],
        }  # fmt: skip

    def corrected(self, changes: Corrections) -> pd.DataFrame:
        """The beats with these corrections."""
        return corrections.corrected(self.found, changes, self.session.class_map)

    def events(self, changes: Corrections) -> dict[str, Any]:
        """What is worth a look, and the summary, of the corrected beats; places are those of the corrected table."""
        beats = self.corrected(changes)
        about = beats.attrs["about"]
        return {
            "events": rhythm.episodes(beats, about, uncertain=UNCERTAIN),
            "summary": rhythm.summary_of(beats, about),
        }

    def overlay(self, name: str, changes: Corrections, most: int) -> dict[str, Any]:
        """Beats of a class around their R peaks, evenly chosen over the recording, around their own medians, in mV."""
        beats, fs = self.corrected(changes), self.signals.fs
        times = beats["time_s"].to_numpy()[np.asarray(beats["class"]) == name]
        before, after = round(BEFORE_S * fs), round(AFTER_S * fs)
        peaks = np.round(times * fs).astype(np.int64)
        inside = (peaks >= before) & (peaks + after <= self.signals.filled)
        chosen = np.flatnonzero(inside)
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int))]
        drawn: FloatArray = np.empty((len(chosen), len(self.file.lead_names), before + after), dtype=np.float32)
        for row, peak in zip(drawn, peaks[chosen].tolist(), strict=True):
            row[:] = self.signals.between(peak - before, peak + after)
        drawn -= np.median(drawn, axis=2, keepdims=True)
        return {
            "of": len(times),
            "fs": fs,
            "before_s": BEFORE_S,
            "columns": {"time_s": packed(times[chosen], np.float64), "signals": packed(drawn, np.float32)},
        }

    def page(self) -> str:
        """The page that ``ecg-lightning annotate`` writes of it."""
        beats = self.found
        return recording_page(beats, beats.attrs["about"], strip=self._strip)

    def _strip(self, start_s: float, seconds: float) -> tuple[Sequence[str], FloatArray, float]:
        fs, leads = self.signals.fs, self.found.attrs["about"]["leads"]
        first, last = (round(at * fs) for at in (start_s, start_s + seconds))
        return leads, self.signals.between(first, last)[[self.file.lead_names.index(one) for one in leads]], fs

    def save(self, changes: corrections.Save) -> list[Path]:
        """Write the corrected beats into the session's folder of corrections."""
        session = self.session
        return corrections.save(
            self.found, changes, session.output, self.name, annotator=session.annotator, class_map=session.class_map
        )


class _ClosedError(Exception):
    """Ends the work on a recording that nobody looks at any longer."""


class Session:
    """Everything that one viewer may show.

    Args:
        recordings: name → path.
        annotate: finds and classifies the beats of a file.
        class_map: of the model, by which symbols of references and corrections become classes and back.
        model: what it is called.
        settings: what `open_recording` needs.
        reference: annotator that is shown beside the model; None for those that are there.
        output: folder of corrections.
        annotator: extension of annotation files that are saved.
        report: the model's page; None if there is none.
    """

    def __init__(
        self,
        recordings: Mapping[str, Path],
        annotate: Annotate,
        *,
        class_map: Any,
        model: str,
        settings: Mapping[str, Any] | None = None,
        reference: str | None = None,
        output: Path = Path("corrected"),
        annotator: str = "atr",
        report: Path | None = None,
    ) -> None:
        self.recordings, self.annotate, self.class_map, self.model = dict(recordings), annotate, class_map, model
        self.settings, self.reference, self.output = settings or {}, reference, output
        self.annotator, self.report, self.annotating = annotator, report, Lock()
        self._viewed: OrderedDict[int, Viewed] = OrderedDict()
        self._opening = Lock()

    def add(self, found: Mapping[str, Path]) -> None:
        """More recordings, such as those that were uploaded; one of the same name is replaced."""
        with self._opening:
            for name in found:
                if name in self.recordings and (viewed := self._viewed.pop([*self.recordings].index(name), None)):
                    viewed.close()
            self.recordings.update(found)

    def viewed(self, number: int) -> Viewed:
        """The recording of this number, which is opened if it is not open; ConfigError if there is none."""
        with self._opening:
            if not 0 <= number < len(self.recordings):
                raise ConfigError(f"there is no recording {number}; there are {len(self.recordings)}, from 0")
            if number not in self._viewed:
                name, path = [*self.recordings.items()][number]
                self._viewed[number] = Viewed(name, path, self)
            self._viewed.move_to_end(number)
            while len(self._viewed) > KEPT:
                self._viewed.popitem(last=False)[1].close()
            return self._viewed[number]

    def close(self) -> None:
        """End all work."""
        for viewed in self._viewed.values():
            viewed.close()


def packed(values: Any, kind: Any) -> dict[str, Any]:
    """An array as JSON takes it: type, shape and little-endian bytes in base64."""
    array = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    content = base64.b64encode(array.tobytes()).decode()
    return {"type": np.dtype(kind).name, "shape": list(array.shape), "data": content}


def _places(named: Any, names: Sequence[str]) -> npt.NDArray[np.intp]:
    return pd.Categorical(named, categories=list(names)).codes.astype(np.intp)


def _escaped(name: str) -> str:
    """The name as a pattern of `glob` that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)

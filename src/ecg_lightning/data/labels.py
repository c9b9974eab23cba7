"""Heartbeat classes: how symbols and rhythms of annotations become classes, by name or by a map of the user's own.

Source: ANSI/AAMI EC57:2012, table 1; de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, table I.
The symbols are those of the WFDB annotation standard (PhysioNet, "Annotations"; ``isqrs`` of the WFDB library).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.beats import IntArray
from ecg_lightning.data.recording import WITHOUT_CLASS, Annotations

# N: sinus and bundle branch block, S: supraventricular ectopic, V: ventricular ectopic, F: fusion, Q: unknown.
AAMI_CLASSES = ("N", "S", "V", "F", "Q")
PTB_CLASSES = ("normal", "MI")  # healthy control and myocardial infarction

AAMI = {"N": [*"NLRej"], "S": [*"AaJS"], "V": [*"VE"], "F": ["F"], "Q": [*"/fQ"]}
# Rhythms of the aux strings of MIT-BIH and of the European ST-T Database.
RHYTHMS = (
    "AB", "AFIB", "AFL", "B", "BII", "B3", "IVR", "N", "NOD", "P", "PREX", "SAB", "SBR", "SVTA", "T", "VFL", "VT",
)  # fmt: skip

# Class maps by the name that ``dataset.class_map`` can give them: class → symbols, or rhythms such as ``(AFIB``.
CLASS_MAPS: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType(
    {
        "aami": AAMI,  # e and j in N, as in the Kaggle files
        "aami4": {name: symbols for name, symbols in AAMI.items() if name != "Q"},
        "aami_escape_s": AAMI | {"N": [*"NLR"], "S": [*"AaJSej"]},  # e and j in S
        "aami_wide": AAMI | {"N": [*"NLRejBn"], "V": [*"VEr"]},  # with B and n in N, r in V
        "bxb": {"N": [*"NLRB"], "S": [*"AaJSejn"], "V": [*"VEr"], "F": ["F"], "Q": [*"/fQ?"]},  # every beat, as WFDB's
        "rhythm": {name: [f"({name}"] for name in RHYTHMS},
    }
)
PHRASES = {
    "aami": "AAMI EC57 with e and j in N",
    "aami4": "AAMI EC57 without Q, with e and j in N",
    "aami_escape_s": "AAMI EC57 with e and j in S",
    "aami_wide": "AAMI EC57 with e, j, B and n in N, r in V",
    "bxb": "AAMI EC57 of all beats as WFDB's bxb: e, j and n in S, B in N, r in V, ? in Q",
    "rhythm": "the rhythm that is annotated",
}

BEAT_SYMBOLS = frozenset("NLRBAaJSVrFejnE/fQ?")
WFDB_SYMBOLS = BEAT_SYMBOLS | frozenset("[!]x()ptu`'^|~+sTL*D=\"@") | {""}


@dataclass(frozen=True)
class ClassMap:
    """Class → the symbols of its beats, or rhythms that are in force at them, such as ``(AFIB``.

    Of several classes that fit a beat, the first counts. Other beats of the WFDB standard are beats without a class:
    part of the rhythm, and neither trained nor tested on.
    """

    symbols: Mapping[str, tuple[str, ...]]
    phrase: str  # what it is, in words

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in their order."""
        return tuple(self.symbols)

    def is_beat(self, symbol: str) -> bool:
        """Whether a symbol is of a beat: of the standard, or one that the map names."""
        return symbol in BEAT_SYMBOLS or any(symbol in own for own in self.symbols.values())

    def beats(self, annotations: Annotations) -> tuple[Annotations, IntArray]:
        """The annotations of beats, and the class ``[b]`` of each, `WITHOUT_CLASS` where no class fits."""
        rhythm, found, labels = "", [], []
        label_of = {symbol: label for label, own in reversed([*enumerate(self.symbols.values())]) for symbol in own}
        by_rhythm = any(symbol.startswith("(") and len(symbol) > 1 for symbol in label_of)
        for place, symbol in enumerate(annotations.symbols):
            if symbol == "+" and annotations.notes[place].startswith("("):
                rhythm = annotations.notes[place]
            elif symbol in BEAT_SYMBOLS or symbol in label_of:
                found.append(place)
                label = label_of.get(symbol, len(self.symbols))
                if by_rhythm:
                    label = min(label, label_of.get(rhythm, len(self.symbols)))
                labels.append(label if label < len(self.symbols) else WITHOUT_CLASS)
        return annotations.select(found), np.asarray(labels, dtype=np.int64)


def make_class_map(setting: Any) -> ClassMap:
    """The map of ``dataset.class_map``: a name of `CLASS_MAPS`, or class → symbols (text is a list of characters).

    ConfigError for another name, or a symbol that is in two classes.
    """
    if isinstance(setting, str):
        if setting not in CLASS_MAPS:
            raise ConfigError(
                f"dataset.class_map={setting}: expected {', '.join(CLASS_MAPS)}, or class: [symbols] for each class"
            )
        return ClassMap({name: tuple(own) for name, own in CLASS_MAPS[setting].items()}, PHRASES[setting])
    symbols = {
        str(name): (own,) if isinstance(own, str) and own.startswith("(") else tuple(map(str, own))
        for name, own in setting.items()
    }
    owner: dict[str, str] = {}
    for name, own in symbols.items():
        for symbol in own:
            if owner.setdefault(symbol, name) != name:
                raise ConfigError(
                    f"dataset.class_map: the symbol {symbol} is in {owner[symbol]} and {name}; expected one"
                )
    if len(symbols) < 2 or not all(symbols) or not all(own and all(own) for own in symbols.values()):
        raise ConfigError(f"dataset.class_map={dict(setting)}: expected at least two classes with symbols")
    described = "; ".join(f"{name}: {' '.join(own)}" for name, own in symbols.items())
    return ClassMap(symbols, described)

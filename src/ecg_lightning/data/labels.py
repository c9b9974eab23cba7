"""Heartbeat classes: the AAMI EC57 grouping of the MIT-BIH annotation symbols, and the two classes of PTB.

Source: ANSI/AAMI EC57:2012, table 1; de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, table I.
Putting the escape beats ``e`` and ``j`` into N is a choice (WFDB's ``bxb`` can count them as S); it is the choice of
the Kaggle files, whose published figures are compared with here.
"""

from collections.abc import Mapping
from types import MappingProxyType

AAMI_CLASSES = ("N", "S", "V", "F", "Q")
"""N: sinus and bundle branch block, S: supraventricular ectopic, V: ventricular ectopic, F: fusion, Q: unknown."""

PTB_CLASSES = ("normal", "MI")
"""Healthy control and myocardial infarction."""

CLASS_MAP = "AAMI EC57 with e and j in N"
"""Named wherever a figure that depends on it is printed."""

CLASSES_OF_TASK: Mapping[str, str] = MappingProxyType({"arrhythmia": CLASS_MAP, "mi": "MI by reason for admission"})
"""Task → how its classes came about."""

AAMI_SYMBOLS: Mapping[str, str] = MappingProxyType({"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"})

SYMBOL_TO_LABEL: Mapping[str, int] = MappingProxyType(
    {symbol: AAMI_CLASSES.index(name) for name, symbols in AAMI_SYMBOLS.items() for symbol in symbols}
)
"""MIT-BIH beat symbol → index into `AAMI_CLASSES`."""

NON_CLASS_SYMBOLS = frozenset("!+~|x[]\"stTu()*^p=D@?Bnr`'&") | {""}
"""The other symbols of the WFDB annotation standard: rhythm changes, noise, wave boundaries and beats that AAMI's
five classes leave out (ventricular flutter waves ``!``, blocked atrial beats ``x``)."""

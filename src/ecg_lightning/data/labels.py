"""Heartbeat classes: the AAMI EC57 grouping of the MIT-BIH annotation symbols, and the two classes of PTB.

Source: ANSI/AAMI EC57:2012, table 1; de Chazal, O'Dwyer & Reilly, IEEE Trans. Biomed. Eng. 51(7), 2004, table I.
The escape beats ``e`` and ``j`` are in N, as in the Kaggle files (WFDB's ``bxb`` can count them as S).
"""

from collections.abc import Mapping
from types import MappingProxyType

# N: sinus and bundle branch block, S: supraventricular ectopic, V: ventricular ectopic, F: fusion, Q: unknown.
AAMI_CLASSES = ("N", "S", "V", "F", "Q")
PTB_CLASSES = ("normal", "MI")  # healthy control and myocardial infarction
CLASSES: Mapping[str, tuple[str, ...]] = MappingProxyType({"mitbih": AAMI_CLASSES, "ptbdb": PTB_CLASSES})

CLASS_MAP = "AAMI EC57 with e and j in N"

# Task → the definition of its classes.
CLASSES_OF_TASK: Mapping[str, str] = MappingProxyType({"arrhythmia": CLASS_MAP, "mi": "MI by reason for admission"})

AAMI_SYMBOLS: Mapping[str, str] = MappingProxyType({"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"})
# Class maps (class → WFDB symbols of its beats) by the name that ``dataset.class_map`` can give them.
CLASS_MAPS: Mapping[str, Mapping[str, str]] = MappingProxyType({"aami": AAMI_SYMBOLS})

# All symbols of the WFDB annotation standard: beats, rhythm changes, noise, wave boundaries.
WFDB_SYMBOLS = frozenset("NLRejAaJSVEF/fQ!+~|x[]\"stTu()*^p=D@?Bnr`'&") | {""}

"""Faults of EDF, EDF+ and BDF files: header fields, data records, annotations."""

from pathlib import Path
from random import Random

import edfio
import numpy as np

from campaigns.odd import FS, Fault, N, Odd, cut_off, digital_of, flipped, no_file, peaks_of

UNUSED = "the field says nothing about the samples"
ALLOWED = "EDF has no checksum: what a changed byte leaves readable is read as it stands"
RATE = "the duration of a data record is what states the sampling rate"

# Fields of the header, by position and length, with odd values.
FILE: list[tuple[str, int, int, list[tuple[str, str | None]]]] = [
    ("version", 0, 8, [("1", UNUSED), ("\xffBIOSEMI", None), ("x", UNUSED), ("", UNUSED)]),
    ("patient", 8, 80, [(one, UNUSED) for one in ("", "[b]x[/b]", "\x1b[31m", "<script>alert(1)</script>", "\xe9\xff",
     "X X X X")]),
    ("recording", 88, 80, [(one, UNUSED) for one in ("", "Startdate 99-ABC-0000", "\x00\x01", "%s\n%s")]),
    ("date", 168, 8, [(one, UNUSED) for one in ("99.99.99", "", "2020-1-1", "nan")]),
    ("time", 176, 8, [(one, UNUSED) for one in ("25.61.61", "", "12:00:00", "-1.-1.-1")]),
    ("bytes of the header", 184, 8, [(one, "the number of signals says how long a header is")
                                     for one in ("0", "-1", "256", "99999999", "abc", "")]),
    ("reserved", 192, 44, [("EDF+D", ALLOWED), ("EDF+X", UNUSED), ("BDF+C", UNUSED), ("", UNUSED), ("24BIT", UNUSED)]),
    ("data records", 236, 8, [("0", None), ("-2", None), ("99999999", None), ("abc", None), ("", None), ("nan", None),
    ("1", None),
                              ("-1", "-1: the recorder was stopped, and the file says how many there are")]),
    ("duration", 244, 8, [("0", None), ("-1", None), ("nan", None), ("inf", None), ("abc", None), ("1e-9", None),
    ("1e9", None),
                          ("", None), ("1e-5", None), ("999999", None), ("2", RATE), ("0.5", RATE)]),
    ("signals", 252, 4, [("0", None), ("-1", None), ("1", None), ("9999", None), ("abc", None), ("", None),
    ("2.5", None),
                         ("1e3", None)]),
]  # fmt: skip
# Fields of each signal: their length, in this order.
WIDTHS = {"label": 16, "transducer": 80, "unit": 8, "physical min": 8, "physical max": 8, "digital min": 8,
"digital max": 8,
          "filter": 80, "samples": 8, "reserved": 32}  # fmt: skip
SIGNAL: dict[str, list[tuple[str, str | None]]] = {
    "label": [(one, "the name of a lead is any text") for one in
              ("", "[b]x[/b]", "\x1b[31m", "<script>", "V1", "\xe9\xff", "EDF Annotation", "\x00")]
             + [("EDF Annotations", "the lead is one of annotations then, and another lead the first")],
    "transducer": [(one, UNUSED) for one in ("", "\xff\xfe", "\x00\x00")],
    "unit": [("furlong", None), ("mmHg", None), ("\xff\xfe", None), ("%", None), ("", None),
        ("uV", "the unit is what states the size"),
             ("\xb5V", "the unit is what states the size"), ("degC", None)],
    "physical min": [("nan", None), ("inf", None), ("abc", None), ("", None), ("163.835", None), ("1e300", None),
                     ("500", "a minimum above the maximum is a lead the other way round")],
    "physical max": [("nan", None), ("inf", None), ("abc", None), ("", None), ("-163.84", None), ("-1e300", None)],
    "digital min": [("32767", None), ("nan", None), ("abc", None), ("", None), ("1.5", None), ("-9999999", None)],
    "digital max": [("-32768", None), ("nan", None), ("abc", None), ("", None), ("9999999", None)],
    "filter": [(one, UNUSED) for one in ("", "\xff", "\x00")],
    "samples": [("0", None), ("-1", None), ("abc", None), ("", None), ("125", None), ("251", None), ("99999999", None),
        ("1e3", None)],
    "reserved": [(one, UNUSED) for one in ("", "\xff")],
}  # fmt: skip


def _set(path: Path, at: int, width: int, value: str) -> None:
    content = bytearray(path.read_bytes())
    content[at : at + width] = value.encode("latin-1")[:width].ljust(width)
    path.write_bytes(content)


def field_of_the_file(folder: Path, random: Random) -> Odd:
    name, at, width, values = random.choice(FILE)
    value, because = random.choice(values)
    _set(folder / "r1.edf", at, width, value)
    return Odd(f"EDF header: {name} is {value!r}", because)


def field_of_a_signal(folder: Path, random: Random) -> Odd:
    path, name = folder / "r1.edf", random.choice([*WIDTHS])
    n = int(path.read_bytes()[252:256])
    value, because = random.choice(SIGNAL[name])
    before = sum(width for other, width in [*WIDTHS.items()][: [*WIDTHS].index(name)])
    _set(path, 256 + n * before, WIDTHS[name], value)
    return Odd(f"EDF header: {name} of the first signal is {value!r}", because)


def bits_of_the_header(folder: Path, random: Random) -> Odd:
    return Odd(flipped(folder / "r1.edf", random, last=256 * 4), ALLOWED)


def bits_of_the_data(folder: Path, random: Random) -> Odd:
    return Odd(flipped(folder / "r1.edf", random, first=256 * 4, most=20), ALLOWED)


def length_of_the_file(folder: Path, random: Random) -> Odd:
    path = folder / "r1.edf"
    if random.random() < 0.7:
        return Odd(cut_off(path, random))
    path.write_bytes(path.read_bytes() + random.randbytes(random.randrange(1, 3000)))
    return Odd("r1.edf is longer than its header states")


def lists_of_annotations(folder: Path, random: Random) -> Odd:
    """Replace the texts of annotations, or their onsets, in well-formed lists."""
    path = folder / "r1.edf"
    content = path.read_bytes()
    what, old, new = random.choice(
        [
            ("a negative duration", b"\x14N\x14", b"\x15-5\x14N\x14"),
            ("an onset of nonsense", b"+1.", b"+x."),
            ("an onset without sign", b"+2.", b" 2."),
            ("a text of escapes", b"\x14N\x14", b"\x14\x1b\x14"),
            ("a text of no UTF-8", b"\x14N\x14", b"\x14\xff\x14"),
            ("no end of a list", b"\x14\x00", b"\x14\x14"),
            ("a negative onset", b"\x00+3.", b"\x00-3."),
            ("all lists are 0", b"\x14", b"\x00"),
            ("no separators", b"\x14", b"N"),
        ]
    )
    start = 256 * 4
    body = content[start:].replace(old, new)
    size = len(content) - start
    path.write_bytes(content[:start] + body[:size].ljust(size, b"\0"))
    return Odd(f"annotations in the file: {what}", "beats are where the file says, and any text stands for itself")


def whole_files(folder: Path, random: Random) -> Odd:
    """Kinds of files that are sound, or that hold no heartbeat."""
    path, digital = folder / "r1.edf", digital_of(1).astype(np.int16)
    beats = [edfio.EdfAnnotation(at / FS, None, "N") for at in peaks_of(1).tolist()]

    def signal(values: np.ndarray, fs: float = FS, **more: object) -> edfio.EdfSignal:
        how: dict = {"label": "ECG MLII", "physical_dimension": "mV", "physical_range": (-163.84, 163.835)}
        return edfio.EdfSignal.from_digital(
            np.ascontiguousarray(values), fs, digital_range=(-(2**15), 2**15 - 1), **how | more
        )

    match random.randrange(7):
        case 0:
            edfio.Edf([], annotations=beats).write(path)
            return Odd("annotations without signals")
        case 1:
            slow = signal(np.zeros(30, np.int16), 1.0, label="SpO2", physical_dimension="%")
            edfio.Edf([signal(digital[:, 0]), slow], annotations=beats, data_record_duration=1).write(path)
            return Odd(
                "signals of 250 and 1 Hz", "each signal has a rate of its own, and only leads that are used count"
            )
        case 2:
            slow = signal(np.zeros(30, np.int16), 1.0)
            edfio.Edf([slow], annotations=beats, data_record_duration=1).write(path)
            return Odd("a signal of 1 Hz")
        case 3:
            edfio.Edf([signal(np.zeros(N, np.int16))], annotations=beats, data_record_duration=1).write(path)
            return Odd("a signal of zeros", "beats where there is no signal are flagged, and stay without class")
        case 4:
            edfio.Edf([signal(digital[:FS, 0])], annotations=beats[:1], data_record_duration=1).write(path)
            return Odd("one second", "a second is short, not wrong")
        case 5:
            return no_file(path, random)
        case _:
            path.write_bytes(random.randbytes(random.randrange(5000)))
            return Odd("random bytes")


def discontinuous(folder: Path, random: Random) -> Odd:
    """Data records that begin later than after the one before, or earlier, or never."""
    path = folder / "r1.edf"
    content = bytearray(path.read_bytes())
    content[192:197] = b"EDF+D"
    start, n = 256 * int(content[252:256]) + 256, int(content[236:244])
    size = (len(content) - start) // n
    kind, because = random.choice(
        [("a gap of ten seconds", "what lies between the parts of a discontinuous file is a gap"),
        ("a record before the one before", None),
         ("a gap of 10^9 seconds", None), ("no time", None), ("a gap of half a sample",
          "time between two samples is rounded")]
    )  # fmt: skip
    later = {"a gap of ten seconds": 10.0, "a record before the one before": -5.0, "a gap of 10^9 seconds": 1e9,
             "a gap of half a sample": 0.5 / FS}.get(kind)  # fmt: skip
    first = random.randrange(1, n)
    for record in range(first, n):
        at = content.index(b"+", start + record * size + 2 * 2 * FS)
        end = content.index(b"\x14\x14", at)
        old = bytes(content[at:end])
        new = b"?" * len(old) if later is None else f"+{float(old) + later:g}".encode()
        rest = content[end : start + (record + 1) * size]
        content[at : start + (record + 1) * size] = (new + rest)[: len(old) + len(rest)].ljust(
            len(old) + len(rest), b"\0"
        )
    path.write_bytes(content)
    return Odd(f"discontinuous: {kind} from data record {first + 1} on", because)


FAULTS: dict[str, list[Fault]] = {
    "EDF": [
        field_of_the_file, field_of_the_file, field_of_a_signal, field_of_a_signal, bits_of_the_header,
        bits_of_the_data,
        length_of_the_file, whole_files, discontinuous,
    ],
    "EDF annotations": [lists_of_annotations],
}  # fmt: skip

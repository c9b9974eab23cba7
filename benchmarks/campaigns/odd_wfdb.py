"""Faults of WFDB records: header, signals, segments, annotations."""

from pathlib import Path
from random import Random

import numpy as np
import wfdb

from campaigns.odd import FS, GAIN, LEADS, Fault, N, Odd, cut_off, digital_of, flipped, no_file, peaks_of

UNUSED = "the field says nothing about the samples"
NO_UNIT = "no unit is millivolts by the standard"
UNSTATED = "a header may leave out its length: the files say how long it is"
ALLOWED = "what a changed byte leaves readable, and fits the signal's checksum, is read as it stands"
LOST = "an annotation file has no checksum: bytes that still are annotations within the recording are read as such"

# Fields of the record line, by position, with odd values; those with a reason may be accepted.
RECORD: dict[int, list[tuple[str, str | None]]] = {
    0: [("r2", None), ("r1/0", None), ("r1/-1", None), ("r1/9", None), ("r1/x", None), ("", None), ("../r1", None),
        ("r1/100000000", None)],
    1: [("0", None), ("-1", None), ("1", None), ("3", None), ("99999999", None), ("x", None),
        ("2.5", None), ("", None)],
    2: [(one, None) for one in ("0", "-250", "nan", "inf", "1e9", "1e400", "1e-9", "abc", "0x10", "5", "250..", "/")]
       + [("", "of fields that are numbers, the next one stands in the place of one that is left out"),
          ("250/100(7)", "the counter's rate and start are not of the signal's clock")],
    3: [("-5", None), ("75000", None), ("7499", None), ("99999999999999", None), ("nan", None), ("1e3", None),
        ("x", None), ("0", UNSTATED), ("", UNSTATED)],
    4: [(one, UNUSED) for one in ("25:00:00", "12:0", "::", "nan", "-1:00:00", "12:00:00.999999999", "\x1b[31m")],
    5: [(one, UNUSED) for one in ("32/13/2020", "1/1/0", "2020-01-01", "1/1/99999", "x")],
}  # fmt: skip
# Fields of the first signal's line.
SIGNAL: dict[int, list[tuple[str, str | None]]] = {
    0: [(one, None) for one in ("../r1.dat", "/etc/passwd", "/dev/zero", "-", "|cat", "absent.dat", ".", "..", "~",
                                "r1.hea", "http://localhost:9/r1.dat", "s3://a/r1.dat", "$HOME", "r1.dat\x00", "")],
    1: [(one, None) for one in ("17", "999", "0", "-16", "abc", "16x", "16x0", "16x-1", "16x4", "16x1000000000", "32",
                                "24", "8", "80", "61", "212", "310", "311", "508", "516", "524", "16+99999999",
                                "16:99999999", "16x2+3:4", "1e3", "")]
       + [("16:5", "a skew of some frames is a delay that is undone"), ("16x1", "one sample a frame is the default")],
    2: [("0", "a gain of 0 is not calibrated: 200 units a millivolt by the standard"),
        ("-200", "a negative gain is a lead the other way round"),
        ("1e-300", None), ("1e300", "a signal that is flat at such a gain has no beats"), ("nan", None), ("inf", None),
        ("abc", None), ("200(nan)/mV", None), ("200(abc)/mV", None), ("200(/mV", None), ("/mV", None), ("()/mV", None),
        ("200(1000000000)/mV", None),
        ("200(1.5)/mV", ALLOWED), ("200/furlong", None), ("200/mmHg", None), ("200/mV/uV", None), ("200/NU", None),
        ("200/[b]mV", None), ("200/\x1b[31m", None), ("200/", NO_UNIT), ("200", NO_UNIT)],
    3: [(one, UNUSED) for one in ("0", "-1", "99", "abc", "1e9", "")],
    4: [(one, UNUSED) for one in ("5", "-99999999999", "abc", "nan", "1.5")],
    5: [(one, UNUSED) for one in ("99999999999", "-1", "abc", "nan")],
    6: [("0", None), ("1", None), ("abc", None), ("99999999999", None), ("nan", None)],
    7: [(one, UNUSED) for one in ("1", "-1", "abc")],
    8: [(one, "the name of a lead is any text, and the leads of the model are found by position or name")
        for one in ("", "[b]MLII[/b]", "MLII\x1b[31m", "$(id)", "<script>alert(1)</script>", "V1", "ECG MLII", "%s",
                    "\\input{x}", "MLII\t\tx", "\N{SNOWMAN}" * 9, "x" * 100_000)],
}  # fmt: skip


def _header(folder: Path) -> list[str]:
    return (folder / "r1.hea").read_text().splitlines()


def _write(folder: Path, lines: list[str], end: str = "\n", encoding: str = "utf-8") -> None:
    (folder / "r1.hea").write_bytes("".join(f"{line}{end}" for line in lines).encode(encoding, "surrogateescape"))


def field_of_the_record(folder: Path, random: Random) -> Odd:
    at = random.choice([*RECORD])
    value, because = random.choice(RECORD[at])
    lines = _header(folder)
    fields = lines[0].split()
    fields += ["12:00:00", "1/1/2020"][: max(0, at + 1 - len(fields))]
    fields[at] = value
    _write(folder, [" ".join(fields), *lines[1:]])
    return Odd(f"header: field {at} of the record is {value!r}", because)


def field_of_a_signal(folder: Path, random: Random) -> Odd:
    at = random.choice([*SIGNAL])
    value, because = random.choice(SIGNAL[at])
    lines = _header(folder)
    fields = lines[1].split()
    fields[at] = value
    _write(folder, [lines[0], " ".join(fields), *lines[2:]])
    return Odd(f"header: field {at} of the first signal is {value[:50]!r}", because)


def field_left_out(folder: Path, random: Random) -> Odd:
    lines = _header(folder)
    row = random.randrange(2)
    fields = lines[row].split()
    gone = random.randrange(len(fields))
    del fields[gone]
    _write(folder, [*lines[:row], " ".join(fields), *lines[row + 1 :]])
    return Odd(f"header: line {row + 1} lacks its field {gone}", "of the fields after the format any may be left out")


def lines_in_disorder(folder: Path, random: Random) -> Odd:
    lines = _header(folder)
    match random.randrange(6):
        case 0:
            gone = random.randrange(3)
            _write(folder, [*lines[:gone], *lines[gone + 1 :]])
            return Odd(f"header: lacks line {gone + 1}")
        case 1:
            at = random.randrange(3)
            _write(folder, [*lines[:at], lines[at], *lines[at:]])
            return Odd(f"header: line {at + 1} twice")
        case 2:
            _write(folder, [lines[1], lines[0], lines[2]])
            return Odd("header: its first two lines are swapped")
        case 3:
            _write(folder, [lines[0], lines[2], lines[1]])
            return Odd("header: its signals are swapped, and so are their checksums")
        case 4:
            _write(folder, [f"r1 100000 {FS} {N}", *[lines[1]] * 100_000])
            return Odd("header: 100000 signals")
        case _:
            _write(folder, [])
            return Odd("header: is empty")


def text_of_the_header(folder: Path, random: Random) -> Odd:
    lines = _header(folder)
    notation = "line ends, blank lines, comments and blanks are the writer's choice"
    match random.randrange(9):
        case 0:
            _write(folder, lines, end="\r\n")
            return Odd("header: lines end with CR LF", notation)
        case 1:
            _write(folder, lines, end="\r")
            return Odd("header: lines end with CR", notation)
        case 2:
            _write(folder, lines, encoding=random.choice(["utf-16", "utf-32", "utf-8-sig"]))
            return Odd("header: in UTF-16, UTF-32 or with a BOM")
        case 3:
            _write(folder, ["# before", "", *lines, "", "# " + "x" * 1_000_000, "#[b]bold[/b] \x1b[31m <script>"])
            return Odd("header: comments, blank lines, a comment of a million characters", notation)
        case 4:
            _write(folder, ["  " + line.replace(" ", " \t ") for line in lines])
            return Odd("header: tabs and blanks", notation)
        case 5:
            _write(folder, [line.replace("1", "\N{ARABIC-INDIC DIGIT ONE}") for line in lines])
            return Odd("header: Arabic digits")
        case 6:
            _write(folder, [*lines, "# caf\udce9 \udcff"])
            return Odd("header: a comment that is not UTF-8", notation)
        case 7:
            _write(folder, [lines[0], lines[1].replace("MLII", "\udce9\udcff"), *lines[2:]])
            return Odd("header: the name of a lead is not UTF-8", notation)
        case _:
            (folder / "r1.hea").write_bytes(random.randbytes(random.randrange(1000)))
            return Odd("header: random bytes")


def bits_of_the_header(folder: Path, random: Random) -> Odd:
    return Odd(flipped(folder / "r1.hea", random), ALLOWED)


def header_cut_off(folder: Path, random: Random) -> Odd:
    return Odd(cut_off(folder / "r1.hea", random), "a comment, or a name, is as long as it is")


def bits_of_the_signals(folder: Path, random: Random) -> Odd:
    what = flipped(folder / "r1.dat", random, most=1)
    unused = int(what.rpartition(" ")[2]) % 4 > 1
    return Odd(what, "a lead that is not used is not read" if unused else None)


def signals_of_another_length(folder: Path, random: Random) -> Odd:
    path = folder / "r1.dat"
    content = path.read_bytes()
    match random.randrange(4):
        case 0:
            return Odd(cut_off(path, random))
        case 1:
            path.write_bytes(content + random.randbytes(random.randrange(1, 4000)))
            return Odd("r1.dat is longer than its header states", "the header states how many of the samples count")
        case 2:
            path.write_bytes(content[1:])
            return Odd("r1.dat lacks its first byte")
        case _:
            path.write_bytes(b"")
            return Odd("r1.dat is empty")


def odd_samples(folder: Path, random: Random) -> Odd:
    n = random.choice([N, 1, 2, 10, 249, 251, N])
    value = random.choice([-32768, 0, 32767, -1])
    _record(folder, np.full((n, 2), value))
    return Odd(f"{n} samples that all are {value}", "a recording without a heartbeat, or with gaps alone, has no beats")


def half_a_recording(folder: Path, random: Random) -> Odd:
    digital = digital_of(1)
    first = random.randrange(N)
    digital[first : random.randrange(first, N + 1), random.choice([[0], [0, 1]])] = random.choice([-32768, 32767, 0])
    _record(folder, digital)
    return Odd("a stretch of one value or of gaps", "beats in gaps and flat lines are flagged, and stay without class")


def _record(folder: Path, digital: np.ndarray, *, name: str = "r1", fmt: str = "16", **more: object) -> None:
    n = digital.shape[1]
    how: dict[str, object] = {"units": ["mV"] * n, "sig_name": [f"{LEADS[at % 2]}{at // 2 or ''}" for at in range(n)]}
    how |= {"adc_gain": [GAIN] * n, "baseline": [0] * n, "fs": FS, "fmt": [fmt] * n} | more
    wfdb.wrsamp(name, d_signal=digital, write_dir=str(folder), **how)


def damaged_format(folder: Path, random: Random) -> Odd:
    """Every format, whole or damaged."""
    fmt = random.choice(["24", "32", "212", "310", "311", "80", "160", "508", "516", "524", "8", "61"])
    digital = digital_of(1)
    if fmt in ("80", "310", "311", "508"):  # of 8 or 10 bits
        digital = digital // 4
    if fmt == "8":
        digital = np.round(np.cumsum(np.clip(np.diff(digital, axis=0, prepend=0), -128, 127), axis=0)).astype(np.int64)
    if fmt in ("310", "311", "8", "61", "160"):
        values = digital
        by_hand = {"160": (values + 32768).astype("<u2"), "61": values.astype(">i2"),
                   "8": np.diff(values, axis=0, prepend=0).astype("i1")}  # fmt: skip
        content = by_hand[fmt].tobytes() if fmt in by_hand else _packed(values.ravel(), fmt)
        (folder / "r1.dat").write_bytes(content)
        lines = _header(folder)
        for at in (0, 1):
            fields = lines[1 + at].split()
            fields[1], fields[5] = fmt, "0" if fmt == "8" else str(values[0, at])
            fields[6] = str(int(values[:, at].sum()) % 65536)
            lines[1 + at] = " ".join(fields)
        _write(folder, lines)
    else:
        _record(folder, digital, fmt=fmt)
    path = next(one for one in sorted(folder.glob("r1*")) if one.suffix in (".dat", ".d", ".flac"))
    match random.randrange(3):
        case 0:
            return Odd(f"format {fmt}, sound", "every signal format of WFDB is read")
        case 1:
            return Odd(f"format {fmt}: {cut_off(path, random)}", "bits that fill up the last byte may be missing")
        case _:
            return Odd(
                f"format {fmt}: {flipped(path, random)}", "bits that hold no sample of a lead that is used may be any"
            )


def _packed(values: np.ndarray, fmt: str) -> bytes:
    """Samples in formats 310 and 311: three of ten bits in four bytes."""
    three = np.pad(values, (0, -len(values) % 3)).reshape(-1, 3) & 0x3FF
    one, two, three_ = three.astype(np.uint32).T
    if fmt == "311":
        return (one | two << 10 | three_ << 20).astype("<u4").tobytes()
    low = (one << 1 & 0x7FF) | (three_ & 0x1F) << 11
    high = (two << 1 & 0x7FF) | (three_ >> 5 & 0x1F) << 11
    return np.stack([low, high], 1).astype("<u2").tobytes()


def several_rates(folder: Path, random: Random) -> Odd:
    """A signal with several samples a frame."""
    rate = random.choice([2, 4, 5])
    digital = digital_of(1)
    frames = np.concatenate([digital[:, 1].reshape(-1, 1), digital[:, :1].repeat(rate, 1)], 1)
    (folder / "r1.dat").write_bytes(frames.astype("<i2").tobytes())
    lines = _header(folder)
    sums = [int(digital[:, 1].sum()) % 65536, int(digital[:, 0].sum()) * rate % 65536]
    fmts = ["16", f"16x{rate}"]
    lines[1:3] = [f"r1.dat {f} 200/mV 16 0 0 {s} 0 {lead}" for f, s, lead in zip(fmts, sums, LEADS, strict=True)]
    _write(folder, lines)
    if random.random() < 0.5:
        return Odd(f"1 and {rate} samples a frame", "leads of different rates are read at the finest")
    return Odd(f"1 and {rate} samples a frame, {cut_off(folder / 'r1.dat', random)}")


def several_files(folder: Path, random: Random) -> Odd:
    """A signal file for each lead, in different formats."""
    digital = digital_of(1)
    _record(folder, digital[:, :1], name="x1")
    _record(folder, digital[:, 1:], name="x2", fmt="212")
    lines = [(folder / f"x{at}.hea").read_text().splitlines()[1] for at in (1, 2)]
    _write(folder, [f"r1 2 {FS} {N}", *lines])
    for name in ("x1.hea", "x2.hea", "r1.dat"):
        (folder / name).unlink()
    match random.randrange(3):
        case 0:
            return Odd("two signal files", "each lead may have a file of its own")
        case 1:
            (folder / "x1.dat").unlink()
            return Odd("two signal files, the first is not there")
        case _:
            return Odd(f"two signal files, {cut_off(folder / 'x1.dat', random)}")


def segments(folder: Path, random: Random) -> Odd:
    """Two segments, of fixed or variable layout."""
    digital, half = digital_of(1), N // 2
    _record(folder, digital[:half], name="s1")
    _record(folder, digital[half:], name="s2")
    (folder / "r1.dat").unlink()
    lines = [f"r1/2 2 {FS} {N}", f"s1 {half}", f"s2 {half}"]
    layout = random.random() < 0.5
    if layout:
        fields = [" ".join(["~", *line.split()[1:]]) for line in (folder / "s1.hea").read_text().splitlines()[1:3]]
        (folder / "lay.hea").write_text("\n".join([f"lay 2 {FS} 0", *fields, ""]))
        lines = [f"r1/3 2 {FS} {N}", "lay 0", *lines[1:]]
    good = "segments, their gaps and layouts are WFDB's own way of joining recordings"
    faults: list[tuple[list[str], str | None]] = [
        (lines, good),
        ([lines[0], *lines[1:-1], f"~ {half}"], good),
        ([lines[0].replace(f" {N}", ""), *lines[1:]], good),
        ([lines[0].replace("/2", "/3").replace("/3 ", "/4 "), *lines[1:]], None),
        ([*lines[:-1], f"s2 {half + 1}"], None),
        ([*lines[:-1], f"s3 {half}"], None),
        ([*lines[:-1], f"r1 {half}"], None),
        ([*lines[:-1], f"../s2 {half}"], None),
        ([*lines[:-1], "s2 -5"], None),
        ([*lines[:-1], "s2"], None),
        ([*lines[:-1], "s2 x"], None),
        ([*lines[:-1], f"~ {10**14}"], None),
        ([lines[0].replace(str(N), str(2 * N)), *lines[1:]], None),
        ([lines[0], *[f"~ {half}"] * (len(lines) - 1)], None),
        (lines[:-1], None),
        ([lines[0].replace(f" {FS} ", " 360 "), *lines[1:]], None),
        ([f"r1/{10**5} 2 {FS} {N}", *lines[1:-1] * 10**5], None),
    ]
    chosen, because = random.choice(faults)
    _write(folder, chosen)
    return Odd(f"{'variable' if layout else 'fixed'} layout: {' | '.join(chosen[:5])}", because)


def nested_segments(folder: Path, random: Random) -> Odd:
    (folder / "r1.dat").unlink()
    names = ["r1", "q2", "q3"]
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        (folder / f"{name}.hea").write_text(f"{name}/1 2 {FS} {N}\n{other} {N}\n")
    return Odd("records that are segments of each other")


def damaged_annotations(folder: Path, random: Random) -> Odd:
    path = folder / "r1.atr"
    if random.random() < 0.5:
        return Odd(flipped(path, random), LOST)
    return Odd(cut_off(path, random), LOST)


def odd_annotations(folder: Path, random: Random) -> Odd:
    """Times, codes and texts that nobody would write, in files that are well formed."""
    peaks, path = peaks_of(1), folder / "r1.atr"
    beats = [_word(1, step) for step in np.diff(peaks, prepend=0).tolist()]
    note = "notes beside beats are any text"
    unclassified = "symbols that are no beats of the class map are counted, and stay part of the rhythm alone"
    faults: list[tuple[str, list[bytes], str | None]] = [
        ("beats in descending order", [*beats[:9], _skip(-1000), *beats[9:]], None),
        ("a beat before the beginning", [_skip(-5000), *beats], None),
        ("a beat far behind the end", [*beats, _skip(10**7), _word(1, 0)], None),
        ("a beat at 2^31", [*beats, _skip(2**31 - 10**5), _word(1, 0)], None),
        ("an unknown code", [*beats[:9], _word(50, 1), *beats[9:]], None),
        ("code 0 in the middle", [*beats[:9], _word(0, 5), *beats[9:]], LOST),
        ("each beat twice", [part for beat in beats for part in (beat, _word(1, 0))],
         "two beats at one sample are read"),
        ("no annotation", [], "an annotator may have found no beat"),
        ("one beat", beats[:1], "a recording of one beat is short, not wrong"),
        ("no beat, only notes", [_word(22, 100) + _note(b"hello")], "an annotator may have found no beat"),
        ("a long text", [beats[0] + _note(b"x" * 255), *beats[1:]], note),
        ("a binary text", [beats[0] + _note(b"\xff\0\x1b[31m\xfe[b]"), *beats[1:]], note),
        ("a text longer than the file", [*beats, _word(63, 1000)], LOST),
        ("a clock of half the rate", [_clock(b"125"), *beats], None),
        ("a clock of 0 Hz", [_clock(b"0"), *beats], "a clock of 0 Hz is not stated: it is that of the signals"),
        ("a clock of nonsense", [_clock(random.choice([b"-5", b"nan", b"1e9", b"abc", b"1e-9", b""])), *beats],
         "a clock that is no number is a note: it is that of the signals"),
        ("all beats are ?", [_word(13, 200)] * 30, unclassified),
        ("other codes alone", [_word(random.choice([13, 30, 38, 25]), 200)] * 30, unclassified),
        ("subtypes and channels", [beat + _word(61, 300) + _word(62, 9) + _word(60, 7) for beat in beats], note),
        ("random words", [random.randbytes(2 * random.randrange(200))], LOST),
    ]  # fmt: skip
    what, words, because = random.choice(faults)
    path.write_bytes(b"".join(words) + b"\0\0")
    return Odd(f"annotations: {what}", because)


def _word(code: int, interval: int) -> bytes:
    return (code << 10 | interval).to_bytes(2, "little")


def _skip(n: int) -> bytes:
    return _word(59, 0) + (n >> 16 & 0xFFFF).to_bytes(2, "little") + (n & 0xFFFF).to_bytes(2, "little")


def _note(text: bytes) -> bytes:
    return _word(63, len(text)) + text + b"\0" * (len(text) % 2)


def _clock(fs: bytes) -> bytes:
    return _word(22, 0) + _note(b"## time resolution: " + fs) + _word(0, 0)


def no_annotation_file(folder: Path, random: Random) -> Odd:
    return no_file(folder / "r1.atr", random)


def no_signal_file(folder: Path, random: Random) -> Odd:
    return no_file(folder / random.choice(["r1.hea", "r1.dat"]), random)


FAULTS: dict[str, list[Fault]] = {
    "WFDB header": [
        field_of_the_record, field_of_a_signal, field_of_the_record, field_of_a_signal, field_left_out,
        lines_in_disorder,
        text_of_the_header, bits_of_the_header, header_cut_off,
    ],
    "WFDB signals": [
        bits_of_the_signals, signals_of_another_length, odd_samples, half_a_recording, damaged_format, damaged_format,
        several_rates, several_files, segments, segments, nested_segments, no_signal_file,
    ],
    "WFDB annotations": [damaged_annotations, odd_annotations, odd_annotations, no_annotation_file],
}  # fmt: skip

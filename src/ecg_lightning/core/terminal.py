"""What terminals, pipes and log files can show: an encoding without a letter gets one that reads alike."""

import codecs
import sys
import unicodedata

READABLE = "ecg_lightning.readable"  # as `errors` of a stream
SIGNS = {
    "×": "x", "·": ".", "±": "+/-", "–": "-", "—": "-", "−": "-", "…": "...", "→": "->", "←": "<-",
    "≤": "<=", "≥": ">=",
    "≈": "~", "µ": "u", "μ": "u", "α": "alpha", "β": "beta", "γ": "gamma", "κ": "kappa", "λ": "lambda", "π": "pi",
    "τ": "tau", "ß": "ss", "æ": "ae", "ø": "o", "“": '"', "”": '"', "‘": "'", "’": "'", "─": "-", "━": "-", "│": "|",
    "█": "#", "•": "*", "✓": "v", "ł": "l", "Ø": "O", "Æ": "AE",
}  # fmt: skip


def readable(text: str, encoding: str) -> str:
    """The text in letters that an encoding has."""
    return text.encode(encoding, READABLE).decode(encoding, "replace")


def readable_streams() -> None:
    """Let stdout and stderr show whatever is written, in letters of their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=READABLE)


def _replace(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter, end = error.object[error.start], error.start + 1
    if "\udc80" <= letter <= "\udcff" and not error.encoding.lower().startswith(("utf-16", "utf-32")):
        return bytes([ord(letter) - 0xDC00]), end  # of the name of a file, which in bytes is what it is
    plain = "".join(one for one in unicodedata.normalize("NFKD", letter) if one.isascii())
    return SIGNS.get(letter) or plain or "?", end


codecs.register_error(READABLE, _replace)

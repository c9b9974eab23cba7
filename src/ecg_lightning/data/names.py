"""`Names`: a column of text with few different values, 4 bytes a beat, where an array of text takes 50."""

from collections.abc import Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
import numpy.typing as npt

TextArray = npt.NDArray[np.str_]
Numbers = npt.NDArray[np.int64]


class Names(Sequence[str]):
    """Text ``[n]``, as the number of its word for each; numpy's functions take it as an array of text.

    Args:
        words: ``[k]``, sorted and different; not all need to occur.
        codes: ``[n]`` int32, positions in `words`.
    """

    __hash__ = None  # type: ignore[assignment]  # as of an array

    def __init__(self, words: TextArray, codes: npt.NDArray[np.int32]) -> None:
        self.words, self.codes = words, codes

    @classmethod
    def of(cls, column: "Column") -> "Names":
        """The column of an array of text ``[n]``."""
        return column if isinstance(column, Names) else cls.at(*numbered(column))

    @classmethod
    def at(cls, words: npt.ArrayLike, codes: npt.NDArray[np.integer[Any]]) -> Self:
        """The word at each of these positions; the words may be in any order, and equal."""
        ordered, place = np.unique(np.asarray(words, dtype=np.str_), return_inverse=True)
        return cls(ordered, place.astype(np.int32)[codes] if len(ordered) else np.zeros(0, dtype=np.int32))

    @classmethod
    def full(cls, n: int, word: str) -> Self:
        """The same word `n` times."""
        return cls(np.array([word]), np.zeros(n, dtype=np.int32))

    @classmethod
    def concatenate(cls, parts: Sequence["Column"]) -> Self:
        """One after the other."""
        names = [Names.of(part) for part in parts]
        ends = np.cumsum([0, *(len(one.words) for one in names)])
        codes = np.concatenate([one.codes + np.int32(end) for one, end in zip(names, ends, strict=False)])
        return cls.at(np.concatenate([one.words for one in names]), codes)

    def numbered(self) -> tuple[TextArray, Numbers]:
        """See `numbered`."""
        occurs = np.bincount(self.codes, minlength=len(self.words)) > 0
        return self.words[occurs], (np.cumsum(occurs) - 1)[self.codes]

    def prefixed(self, prefix: str) -> "Names":
        """The same with text before each."""
        return Names(np.char.add(prefix, self.words), self.codes)

    def isin(self, words: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which ``[n]`` are among the words."""
        return np.isin(self.words, words)[self.codes]

    def tolist(self) -> list[str]:
        """As a list of text."""
        return np.asarray(self).tolist()  # type: ignore[no-any-return]

    def astype(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """As an array of text or of objects."""
        return self.words.astype(dtype)[self.codes]

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self.astype(self.words.dtype if dtype is None else dtype)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tolist())

    @overload
    def __getitem__(self, rows: int) -> str: ...
    @overload
    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> "Names": ...
    def __getitem__(self, rows: Any) -> Any:
        codes = self.codes[rows]
        return Names(self.words, codes) if np.ndim(codes) else str(self.words[codes])

    def __eq__(self, other: object) -> npt.NDArray[np.bool_]:  # type: ignore[override]
        if isinstance(other, str):
            return np.asarray((self.words == other)[self.codes])
        return np.asarray(np.asarray(self) == np.asarray(other))

    def __ne__(self, other: object) -> npt.NDArray[np.bool_]:  # type: ignore[override]
        return ~(self == other)


Column = Names | TextArray


def numbered(column: Column) -> tuple[TextArray, Numbers]:
    """The different words of a column of text ``[n]``, sorted, and the number ``[n]`` of the word of each."""
    if isinstance(column, Names):
        return column.numbered()
    words, numbers = np.unique(np.asarray(column, dtype=np.str_), return_inverse=True)
    return words, numbers.astype(np.int64)

"""Weights that ship with the package: arrays in ``NAME.safetensors``, which runs no code, and a card ``NAME.json``."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.atomic import atomic_write, sha256_of
from ecg_lightning.core.errors import CheckpointError, DataError
from ecg_lightning.core.reading import read_whole

FOLDER = Path(__file__).parents[1] / "weights"
LARGEST, LARGEST_CARD = 2**29, 2**24  # bytes of weights, and of a card

Arrays = Mapping[str, npt.NDArray[Any]]


class Weights(NamedTuple):
    """Arrays by name, and what their card says about them in plain values."""

    arrays: Arrays
    card: Mapping[str, Any]


def path_of(given: Path | str) -> Path:
    """The path that somebody gives for a model; CheckpointError for what cannot be one, such as a name too long."""
    try:
        path = Path(given).expanduser()
        path.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{str(given)[:200]} cannot be the path of a model: {str(error)[:100]}") from error
    return path


def shipped_weights(kind: str | None = None) -> dict[str, Mapping[str, Any]]:
    """The cards of all weights in the package by name, or of those of one ``kind``: ``beats`` or ``r_peaks``."""
    cards = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
    return {name: card for name, card in cards.items() if kind in (None, card["kind"])}


def weights_file(path: Path | str) -> Path:
    """Of weights by their name in the package, or by the path of their ``.safetensors``."""
    return Path(path) if Path(path).suffix == ".safetensors" else FOLDER / f"{path}.safetensors"


def read_weights(path: Path | str) -> Weights:
    """Weights by their name in the package, or by the path of their ``.safetensors``, beside which their card is.

    CheckpointError if one of the two files is absent or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    file = weights_file(path)
    try:
        content = read_whole(file, LARGEST)
        card = json.loads(read_whole(file.with_suffix(".json"), LARGEST_CARD))
        if card["sha256"] != hashlib.sha256(content).hexdigest():
            raise ValueError("the arrays do not have the checksum of the card")
        return Weights(dict(sorted(load(content).items())), card)  # the file's order is arbitrary
    except DataError as error:
        raise CheckpointError(f"{error}; weights are a .safetensors and a .json") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file} or its card {file.stem}.json is damaged: {error}") from error


def write_weights(path: Path, arrays: Arrays, card: Mapping[str, Any]) -> None:
    """Write ``PATH.safetensors`` and its card ``PATH.json`` with the checksum; DataError if the file system refuses."""
    from safetensors.numpy import save

    with atomic_write(path.with_suffix(".safetensors")) as partial:
        # Not save_file, which makes a file that only its owner can read.
        partial.write_bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
        card = {**card, "sha256": sha256_of(partial)}
    with atomic_write(path.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

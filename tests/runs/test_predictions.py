"""The file of predictions: every score can be recomputed from it, and every row leads back to its beat."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecg_lightning.core.errors import DataError
from ecg_lightning.data.beats import Beats
from ecg_lightning.data.labels import AAMI_CLASSES, PTB_CLASSES
from ecg_lightning.metrics.scoring import score_beats
from ecg_lightning.runs.predictions import read_predictions, score_predictions, write_predictions

MakeBeats = Callable[..., Beats]


def made_up(classes: tuple[str, ...], n: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    labels = generator.choice(len(classes), n, p=np.linspace(1, 3, len(classes)) / (2 * len(classes)))
    raw = generator.random((n, len(classes))) + 0.5 * np.eye(len(classes))[labels]
    return labels, (raw / raw.sum(axis=1, keepdims=True)).astype(np.float32)


def certain(predicted: list[int], n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[predicted]


def origin(n: int) -> dict[str, Any]:
    return {
        "records": np.array([f"{100 + i % 3}" for i in range(n)]),
        "patients": np.array([f"p{i % 3}" for i in range(n)]),
        "samples": np.arange(n) * 290,
    }


@pytest.mark.parametrize("from_records", [True, False])
@pytest.mark.parametrize(("classes", "positive"), [(AAMI_CLASSES, None), (PTB_CLASSES, "MI")])
def test_scores_can_be_recomputed_from_the_file_of_predictions_to_the_digit(
    tmp_path: Path, make_beats: MakeBeats, classes: tuple[str, ...], positive: str | None, from_records: bool
) -> None:
    labels, probabilities = made_up(classes)
    beats = make_beats(labels, classes, **(origin(len(labels)) if from_records else {}))
    scores_json = json.dumps(score_beats(beats, probabilities, positive), allow_nan=False)

    path = tmp_path / "run" / "predictions.parquet"
    write_predictions(path, beats, probabilities, positive=positive)
    assert json.dumps(score_predictions(path)) == scores_json
    assert json.loads(scores_json)["intervals"]["resampled"] == ("patients" if from_records else "beats")


def test_a_row_of_predictions_leads_back_to_its_beat(tmp_path: Path, make_beats: MakeBeats) -> None:
    labels = np.array([0, 2, 1, 4])
    beats = make_beats(labels, AAMI_CLASSES, **origin(4))
    path = tmp_path / "predictions.parquet"
    write_predictions(path, beats, certain([0, 2, 0, 4], 5), about={"model": "cnet", "seed": 3})

    table, info = read_predictions(path)
    wrong = table[table["true"] != table["predicted"]]
    assert wrong[["record", "patient", "sample", "true", "predicted"]].to_numpy().tolist() == [
        ["102", "p2", 580, "S", "N"]
    ]
    assert wrong["probability_N"].item() == 1
    assert info.about == {"model": "cnet", "seed": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_beats_without_records_have_no_such_columns(tmp_path: Path, make_beats: MakeBeats) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, make_beats([0, 1], PTB_CLASSES), certain([0, 1], 2))
    assert list(read_predictions(path)[0]) == ["true", "predicted", "probability_normal", "probability_MI"]


def test_a_file_that_holds_no_predictions_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"missing\.parquet cannot be read"):
        score_predictions(tmp_path / "missing.parquet")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"damaged\.parquet is no readable Parquet file"):
        score_predictions(damaged)
    foreign = tmp_path / "foreign.parquet"
    pd.DataFrame({"true": ["N"]}).to_parquet(foreign)
    with pytest.raises(DataError, match=r"foreign\.parquet holds no predictions"):
        score_predictions(foreign)


def test_a_table_that_lacks_a_class_is_refused(tmp_path: Path, make_beats: MakeBeats) -> None:
    import pyarrow.parquet as pq

    path = tmp_path / "predictions.parquet"
    write_predictions(path, make_beats([0, 1], PTB_CLASSES), certain([0, 1], 2))
    table = pq.read_table(path)
    pq.write_table(table.drop(["probability_MI"]), path)
    with pytest.raises(DataError, match="lacks probability_MI"):
        read_predictions(path)
    pq.write_table(table.set_column(0, "true", [["normal", "AF"]]), path)
    with pytest.raises(DataError, match="'AF'"):
        read_predictions(path)

"""`export`: a network as one ONNX file that states its input, compared with torch before it is kept."""

import json
import logging
import time
import warnings
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from ecg_lightning.core.atomic import atomic_write
from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError
from ecg_lightning.core.provenance import versions
from ecg_lightning.data.beats import FloatArray, IntArray
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.metrics.scoring import score
from ecg_lightning.pipeline.build import make_datamodule
from ecg_lightning.pipeline.evaluate import plain_config
from ecg_lightning.pipeline.predictor import (
    BATCH,
    ONNX_FORMAT,
    ONNX_INPUTS,
    ONNX_KEY,
    UNSIGNED,
    Predictor,
    checkpoint_predictor,
    metadata_of,
    onnx_predictor,
)
from ecg_lightning.training.checkpoint import Checkpoint, read_checkpoint
from ecg_lightning.training.classifier import BeatClassifier
from ecg_lightning.training.estimator import NetworkEstimator, estimator_type
from ecg_lightning.training.tasks import Probabilities

OPSET = 20
TOLERANCE = 1e-4  # of a probability, against torch
BATCHES = (1, 7, 512)  # a file that takes only the batch of its example is a known fault of exporters
MOST_BEATS = 20_000  # compared
CALIBRATED = 2048  # training beats, on which the range of 8-bit values is chosen
AGREEMENT = 0.98  # share of beats, at least, whose class is the same with int8
LARGEST_WEIGHT = 2**26  # bytes, of which the exporter computes what does not depend on the beats


class Compared(NamedTuple):
    """Beats on which two predictors are compared."""

    signals: FloatArray
    lengths: IntArray
    context: FloatArray | None
    labels: IntArray | None  # None of random numbers

    def resized(self, n: int) -> "Compared":
        """`n` of them, repeated where there are fewer."""
        rows = np.arange(n) % len(self.signals)
        return Compared(*(None if column is None else column[rows] for column in self))  # type: ignore[arg-type]


def export(
    path: Path | str,
    output: Path,
    *,
    quantize: Literal["int8"] | None = None,
    data_dir: Path | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Write a network as ``output.onnx``, with softmax and calibration inside, and its card ``output.json``.

    The file takes any number of beats: ``signals [n, leads, length] float32``, ``lengths [n] int64`` where the network
    uses them, ``context [n, k] float32`` if it has one; and returns ``probabilities [n, classes]``. Its metadata and
    the card state what a `Predictor` does, and the checkpoint it is from. Before it is kept, its probabilities are
    compared with torch's on validation beats of the run, or on random numbers where these are not there.

    Args:
        path: a run's folder, a checkpoint, or a name that ships.
        output: ends with ``.onnx``; replaced if it is there.
        quantize: ``int8``: convolutions in 8 bits, in ranges of values that are chosen on training beats of the run,
            and LSTM layers, in ranges that are chosen batch by batch. Other layers stay in single precision.
        data_dir: recordings, for the comparison; as in `evaluate`.
        cache_dir: cache of beats, as in `evaluate`.

    Returns:
        The card; among others ``parity`` (``beats``, ``of``, ``difference``: the largest of a probability), ``speed``
        compared with torch, and with `quantize` ``int8``: ``layers`` and ``calibrated_on``, which the file states, too,
        ``macro_f1`` without and with it, ``speed`` compared with the file in single precision, ``difference``, and
        ``agreement``, the share of beats that keep their class.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the file differs from torch; nothing is written.
        ConfigError: the extra ``export`` is not installed, the model is no network, `output` has another suffix; or
            int8 has no training beats, or neither convolutions nor LSTM layers.
        DataError: the file cannot be written.
    """
    if output.suffix != ".onnx":
        raise ConfigError(f"--output {output}: expected a name that ends with .onnx")
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ConfigError(f"export needs {', '.join(missing)}: pip install 'ecg-lightning[export]'")
    checkpoint = read_checkpoint(path)
    stated = metadata_of(checkpoint)
    if (type_ := estimator_type(stated["name"])) is not NetworkEstimator:
        what = "a baseline of scikit-learn" if type_.baseline else "made of several models"
        raise ConfigError(f"{checkpoint.path} is {stated['name']}, {what}; networks are exported")
    stated = {"format": ONNX_FORMAT, **stated, "origin": checkpoint.origin(), "versions": versions()}
    stated["sha256"] = UNSIGNED
    reference = checkpoint_predictor(checkpoint)
    model = _as_onnx(checkpoint, reference, stated)
    content = _signed(model.SerializeToString())
    single = onnx_predictor(content, output)
    beats, kind, training = _beats_of(checkpoint, reference.input, data_dir, cache_dir)
    for size in BATCHES:
        _check(reference, single, beats.resized(size), f"batches of {size}")
    difference = _check(reference, single, beats, kind)
    card = {
        **stated,
        "opset": OPSET,
        "parity": {"beats": len(beats.signals), "of": kind, "difference": difference},
        "speed": _seconds(reference, beats) / _seconds(single, beats),
    }
    with atomic_write(output) as partial:
        if quantize:
            content, card["int8"] = _quantized(model, stated, training, partial)
            small = onnx_predictor(content, output)
            card["int8"] |= _cost(single, small, beats)
        partial.write_bytes(content)
    card |= {"file": output.name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
    with atomic_write(output.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return card


def _as_onnx(checkpoint: Checkpoint, reference: Predictor, stated: Mapping[str, Any]) -> Any:
    """The network as an ``onnx.ModelProto`` with metadata."""
    import onnx
    import onnxscript.optimizer

    classifier = BeatClassifier.from_checkpoint(checkpoint)
    temperature = reference.calibration.temperature if reference.calibration else 1.0
    network = Probabilities(classifier.model, classifier.task, temperature).eval()
    example = [torch.from_numpy(one) for one in _random(reference.input, 3)[:3] if one is not None]
    dynamic = {0: torch.export.Dim("beats")}
    if reference.around:
        example = [torch.stack([one, one]) for one in example]
        dynamic = {0: torch.export.Dim("sequences"), 1: torch.export.Dim("beats")}
    with _silent():
        program = torch.onnx.export(
            network,
            tuple(example),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=ONNX_INPUTS[: len(example)],
            output_names=["probabilities"],
            dynamic_shapes=tuple(dynamic for _ in example),
        )
        assert program is not None
        # The exporter itself leaves operations on large weights, which cannot be quantised then.
        model = onnxscript.optimizer.optimize(
            program.model_proto, input_size_limit=LARGEST_WEIGHT, output_size_limit=LARGEST_WEIGHT
        )
    onnx.helper.set_model_props(model, {ONNX_KEY: json.dumps(stated)})
    return model


def _signed(content: bytes) -> bytes:
    """The file with its checksum in the place of `UNSIGNED`."""
    return content.replace(UNSIGNED.encode(), sha256(content).hexdigest().encode())


def _quantized(
    model: Any, stated: Mapping[str, Any], training: Compared | None, path: Path
) -> tuple[bytes, dict[str, Any]]:
    """The file in 8 bits, and what it states of that; `path` is written on the way."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_dynamic, quantize_static

    nodes = [(node.op_type, node.name) for node in model.graph.node]
    layers = [one for one in ("Conv", "LSTM") if any(kind == one for kind, _ in nodes)]
    if not layers:
        raise ConfigError(f"{stated['name']} has neither convolutions nor LSTM layers, which int8 is for")
    about: dict[str, Any] = {"layers": layers}
    with _silent():
        if "Conv" in layers:
            if training is None:
                raise ConfigError("int8 is calibrated on training beats of the run, which are not there: --data-dir")
            last = max(at for at, (kind, _) in enumerate(nodes) if kind in ("Conv", "MaxPool"))
            inputs = {one.name for one in model.graph.input}
            batches = iter(_inputs(training, inputs, in_sequence=bool(stated["around"])))

            class Batches(CalibrationDataReader):  # type: ignore[misc]
                def get_next(self) -> dict[str, Any] | None:
                    return next(batches, None)

            quantize_static(
                model, path, Batches(), per_channel=True, activation_type=QuantType.QUInt8,
                op_types_to_quantize=["Conv", "Add", "Relu", "MaxPool"],
                nodes_to_quantize=[name for _, name in nodes[: last + 1]],
            )  # fmt: skip
            model = onnx.load(path)
            about["calibrated_on"] = f"{len(training.signals)} training beats"
        if "LSTM" in layers:
            quantize_dynamic(model, path, weight_type=QuantType.QInt8, op_types_to_quantize=["LSTM"])
            model = onnx.load(path)
    onnx.helper.set_model_props(model, {ONNX_KEY: json.dumps({**stated, "int8": about})})
    return _signed(model.SerializeToString()), about


def _inputs(beats: Compared, names: Container[str], *, in_sequence: bool) -> Iterator[dict[str, Any]]:
    """Batches of them as inputs of a file, of one sequence each where it takes sequences."""
    for start in range(0, len(beats.signals), BATCH):
        given = zip(ONNX_INPUTS, (beats.signals, beats.lengths, beats.context), strict=True)
        some = {name: array[start : start + BATCH] for name, array in given if array is not None and name in names}
        yield {name: array[None] if in_sequence else array for name, array in some.items()}


def _cost(single: Predictor, small: Predictor, beats: Compared) -> dict[str, Any]:
    """What 8 bits change; CheckpointError if it is too much."""
    before, after = (one(*beats[:3]) for one in (single, small))
    agreement = float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
    if agreement < AGREEMENT:
        raise CheckpointError(
            f"int8 changes the class of {1 - agreement:.1%} of {len(before):,} beats, expected at most "
            f"{1 - AGREEMENT:.0%}; it was not written"
        )
    scores = None
    if beats.labels is not None:
        scores = [float(score(beats.labels, one, single.classes)["macro_f1"]) for one in (before, after)]
    return {
        "macro_f1": scores,
        "speed": _seconds(single, beats) / _seconds(small, beats),
        "difference": float(np.abs(before - after).max()),
        "agreement": agreement,
    }


def _beats_of(
    checkpoint: Checkpoint, spec: InputSpec, data_dir: Path | None, cache_dir: Path | None
) -> tuple[Compared, str, Compared | None]:
    """Validation beats of the run, else random numbers; which of the two; and training beats, None if not there."""
    if with_data := checkpoint.config:
        try:
            datamodule = make_datamodule(plain_config(with_data, data_dir=data_dir, cache_dir=cache_dir))
            datamodule.setup("test")
            found = []
            for rows, most in ((datamodule.folds.validation, MOST_BEATS), (datamodule.folds.train, CALIBRATED)):
                # Every k-th, so that all records have a part.
                beats = datamodule.beats.select(np.sort(rows)[:: -(-len(rows) // most) or 1])
                spec.check(beats, whose=str(checkpoint.path))
                found.append(Compared(np.asarray(beats.signals), beats.lengths, beats.context, beats.labels))
            if len(found[0].signals):
                return found[0], "validation beats", found[1]
        except (DataError, ConfigError, LookupError, TypeError, AttributeError, ValueError) as error:
            logging.getLogger(__name__).debug("no validation beats: %s", error)
    return _random(spec, 1000), "random beats", None


def _random(spec: InputSpec, n: int) -> Compared:
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, spec.length + 1, n)
    signals = generator.random((n, len(spec.leads), spec.length), dtype=np.float32)
    signals *= np.arange(spec.length) < lengths[:, None, None]
    context = generator.standard_normal((n, len(spec.context)), dtype=np.float32) if spec.context else None
    return Compared(signals, lengths, context, None)


def _difference(one: Predictor, other: Predictor, beats: Compared) -> float:
    first, second = (replace(each, batch=max(each.batch, BATCHES[-1]))(*beats[:3]) for each in (one, other))
    return float(np.abs(first - second).max())


def _check(reference: Predictor, exported: Predictor, beats: Compared, kind: str) -> float:
    """The largest difference of a probability; CheckpointError if it is too large, or the file takes no such batch."""
    try:
        difference = _difference(reference, exported, beats)
    except Exception as error:  # of onnxruntime, whose exceptions have no common class
        raise CheckpointError(f"the exported {reference.name} fails on {kind} and was not written: {error}") from error
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"the exported {reference.name} differs from torch by {difference:.1e} on {kind}, expected at most "
            f"{TOLERANCE:g}; it was not written"
        )
    return difference


def _seconds(predictor: Predictor, beats: Compared) -> float:
    """The shorter of two times."""
    times = []
    for _ in range(2):
        began = time.perf_counter()
        predictor(*beats[:3])
        times.append(time.perf_counter() - began)
    return min(times)


@contextmanager
def _silent() -> Iterator[None]:
    """Without the warnings of exporters, which are about their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)

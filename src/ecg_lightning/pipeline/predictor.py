"""`load_predictor`: a trained model as a function of arrays, computed by torch, numpy or onnxruntime."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from ecg_lightning.core.errors import CheckpointError, ConfigError, DataError
from ecg_lightning.core.reading import read_whole
from ecg_lightning.core.threads import available_threads, side_by_side
from ecg_lightning.core.weights import LARGEST, path_of
from ecg_lightning.data.beats import Beats, FloatArray, IntArray, recordings_in
from ecg_lightning.data.databases.card import cards_of
from ecg_lightning.data.inputs import InputSpec
from ecg_lightning.data.labels import make_class_map
from ecg_lightning.metrics.calibration import Calibration
from ecg_lightning.metrics.operating_point import OperatingPoint

if TYPE_CHECKING:  # torch is imported only for what is no .onnx
    from ecg_lightning.training.checkpoint import Checkpoint

ONNX_KEY, ONNX_FORMAT = "ecg_lightning", 1  # of the metadata in an exported file; later formats are refused
ONNX_INPUTS = ("signals", "lengths", "context")
UNSIGNED = 64 * "0"  # in the metadata of an exported file, until its checksum is known

LARGE_BATCH = 2048  # of baselines, and where the device is no CPU
BATCH = 128  # on a CPU: larger ones leave its cache, smaller ones have more overhead
SEQUENCE_BATCH = 4 * BATCH  # of networks that compute the beats around a batch, too

T = TypeVar("T", Calibration, OperatingPoint)

Run = Callable[[FloatArray, IntArray, FloatArray | None], npt.NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A trained model that is called with arrays.

    Attributes:
        name, task, classes: of the model.
        input: what it takes of each beat.
        class_map: as ``dataset.class_map`` in its training; None where classes are not made of symbols.
        calibration: of its probabilities; None if unknown, and they are then as the model gives them.
        around: beats on each side of a beat that its probabilities depend on; 0: each beat is predicted by itself.
        operating_point: that its run has chosen; None if it has chosen none.
        is_at_operating_point: whether its probabilities are those at this point, which are not calibrated.
        run: signals, lengths and context of a batch → probabilities ``[b, classes]``, calibrated where possible.
        batch: how many beats are predicted at once.
        threads: how many batches are predicted side by side. Probabilities do not depend on it.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    input: InputSpec
    class_map: Any
    calibration: Calibration | None
    around: int = 0
    run: Run
    batch: int
    threads: int = 1
    operating_point: OperatingPoint | None = None
    is_at_operating_point: bool = False

    def __call__(
        self, signals: npt.ArrayLike, lengths: npt.ArrayLike, context: npt.ArrayLike | None = None
    ) -> FloatArray:
        """Probabilities ``[n, classes]``, each independent of the other beats but those `around` it.

        With `around`, the beats are consecutive ones of one recording; see `of` for beats of several.

        Args:
            signals: ``[n, leads, length]``, as `input` describes them.
            lengths: ``[n]``, samples of each beat before its zero padding.
            context: ``[n, k]``, the values that `input` names; None for a model without.

        Raises:
            ConfigError: arrays of other shapes.
        """
        signals, lengths = np.asarray(signals, dtype=np.float32), np.asarray(lengths, dtype=np.int64)
        context = None if context is None else np.asarray(context, dtype=np.float32)
        n, k = len(signals), len(self.input.context)
        for what, given, expected in (
            ("signals", signals.shape, (n, len(self.input.leads), self.input.length)),
            ("lengths", lengths.shape, (n,)),
            ("context", None if context is None else context.shape, (n, k) if k else None),
        ):
            if given != expected:
                raise ConfigError(f"{what} of shape {given} for {self.name}: expected {expected}")
        probabilities = np.empty((n, len(self.classes)), dtype=np.float32)

        def predict(start: int) -> None:
            first, stop = max(start - self.around, 0), min(start + self.batch, n)
            rows = slice(first, stop + self.around)
            found = self.run(signals[rows], lengths[rows], None if context is None else context[rows])
            probabilities[start:stop] = found[start - first : stop - first]

        starts = range(0, n, self.batch)
        if (threads := min(self.threads, len(starts))) > 1:
            with side_by_side(threads) as workers:
                list(workers.map(predict, starts))
        else:
            list(map(predict, starts))
        return probabilities

    def of(self, beats: Beats) -> FloatArray:
        """Probabilities ``[n, classes]`` of beats, of whole recordings where the model sees those around a beat."""
        if not self.around:
            return np.concatenate([self(some.signals, some.lengths, some.context) for some in beats.parts()])
        probabilities = np.empty((len(beats), len(self.classes)), dtype=np.float32)
        for rows in recordings_in(beats):
            own = beats.select(rows)
            probabilities[rows] = self(own.signals, own.lengths, own.context)
        return probabilities

    def at_operating_point(self) -> "Predictor":
        """The same at its operating point; a ConfigError if its run has chosen none."""
        if (point := self.operating_point) is None:
            raise ConfigError(f"{self.name} has no operating point: train it with operating_point.folds=5, or leave it")
        run, temperature = self.run, self.calibration.temperature if self.calibration else 1.0

        def adjusted(*arrays: Any) -> npt.NDArray[np.float32]:
            return point.apply(run(*arrays), self.classes, temperature=temperature)

        return replace(self, run=adjusted, calibration=None, is_at_operating_point=True)


def load_predictor(model: str | Path, *, device: Literal["cpu", "auto"] = "cpu") -> Predictor:
    """The predictor of a model: a name that ships, a run's folder, a checkpoint, or a ``.onnx`` of `export`.

    An ``.onnx`` is computed by onnxruntime on the CPU, in as many threads as ``OMP_NUM_THREADS`` states, else one a
    core, and without torch being imported. `device` is of the others: ``cpu``, or the best available.

    Raises:
        CheckpointError: it is absent, damaged, or no model of ecg_lightning.
        ConfigError: onnxruntime is not installed.
    """
    if Path(model).suffix == ".onnx":
        path = path_of(model)
        try:
            content = read_whole(path, LARGEST)
        except DataError as error:
            raise CheckpointError(f"{error}; give a file of ecg-lightning export") from error
        return onnx_predictor(content, path)
    from ecg_lightning.training.checkpoint import read_checkpoint

    return checkpoint_predictor(read_checkpoint(model), device=device)


def checkpoint_predictor(checkpoint: "Checkpoint", *, device: Literal["cpu", "auto"] = "cpu") -> Predictor:
    """The predictor of a network, in single precision, of a baseline or an ensemble; errors as `load_estimator`."""
    import torch

    from ecg_lightning.models.baselines import REFERENCE_MODELS
    from ecg_lightning.training.checkpoint import ENSEMBLE, load_network
    from ecg_lightning.training.tasks import Probabilities, task_of

    stated = metadata_of(checkpoint)
    calibration = fitted(Calibration, stated["calibration"], checkpoint.path)
    if stated["name"] in REFERENCE_MODELS:
        return _predictor(stated, checkpoint.path, calibration, _run_baseline(checkpoint, calibration), LARGE_BATCH)
    if stated["name"] == ENSEMBLE:
        return _predictor(
            stated, checkpoint.path, calibration, _run_ensemble(checkpoint, calibration, device), LARGE_BATCH
        )

    on = torch.device("cpu")
    if device == "auto" and torch.accelerator.is_available():
        on = torch.accelerator.current_accelerator() or on
    temperature = calibration.temperature if calibration else 1.0
    network = Probabilities(load_network(checkpoint), task_of(checkpoint.require()), temperature).eval().to(on)

    def run(*arrays: Any) -> npt.NDArray[np.float32]:
        tensors = [None if array is None else torch.from_numpy(array).to(on) for array in arrays]
        with torch.inference_mode():
            return network(*tensors).cpu().numpy()  # type: ignore[no-any-return]

    if stated["around"]:
        run = in_sequence(run)

    if on.type != "cpu":
        return _predictor(stated, checkpoint.path, calibration, run, LARGE_BATCH)
    return _predictor(stated, checkpoint.path, calibration, run, _batch_on_cpu(stated), available_threads())


def _batch_on_cpu(stated: Mapping[str, Any]) -> int:
    return SEQUENCE_BATCH if stated.get("around") else BATCH


def in_sequence(run: Run) -> Run:
    """Of a network that takes sequences, a function of one: consecutive beats of a recording."""

    def of_one(signals: FloatArray, lengths: IntArray, context: FloatArray | None) -> npt.NDArray[np.float32]:
        found = run(signals[None], lengths[None], None if context is None else context[None])
        return found[0]  # type: ignore[no-any-return]

    return of_one


def metadata_of(checkpoint: "Checkpoint") -> dict[str, Any]:
    """What a predictor states, in plain values: the attributes of `Predictor` before ``run``."""
    from ecg_lightning.models import SequenceSettings
    from ecg_lightning.training.checkpoint import ENSEMBLE, malformed, members_of
    from ecg_lightning.training.tasks import task_of

    stated = checkpoint.require()
    with malformed(f"{checkpoint.path} states no class map that can be read", ConfigError):
        dataset = checkpoint.config.get("dataset")
        maps = [card.get("class_map") for card in cards_of(dataset).values()] if dataset else [None]
    task, sequence = task_of(stated), stated["model"].get("sequence")
    members = members_of(checkpoint) if checkpoint.model == ENSEMBLE else []
    around = max((metadata_of(member)["around"] for member in members), default=0)
    return {
        "name": checkpoint.model,
        "task": task.name,
        "classes": list(task.classes),
        "input": checkpoint.input.plain(),
        "class_map": maps[0] if all(one == maps[0] for one in maps) else None,
        "calibration": checkpoint.calibration,
        "around": around if sequence is None else SequenceSettings(**sequence).reach,
        "operating_point": checkpoint.operating_point,
    }


def _predictor(
    stated: Mapping[str, Any],
    path: Path,
    calibration: Calibration | None,
    run: Run,
    batch: int,
    threads: int = 1,
) -> Predictor:
    if (class_map := stated["class_map"]) is not None:
        try:
            make_class_map(class_map)
        except (ConfigError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(f"{path} has a class map that is malformed: {error}") from error
    predictor = Predictor(
        name=stated["name"],
        task=stated["task"],
        classes=tuple(stated["classes"]),
        input=InputSpec.from_plain(stated["input"]),
        class_map=class_map,
        calibration=calibration,
        around=stated.get("around", 0),  # which files of earlier versions lack
        run=run,
        batch=batch,
        threads=threads,
        operating_point=fitted(OperatingPoint, stated.get("operating_point"), path),
    )
    _try(predictor, path)
    return predictor


def _try(predictor: Predictor, path: Path) -> None:
    """Predict one beat; CheckpointError if that fails, or if what comes out are no probabilities of the classes."""
    spec = predictor.input
    signals = np.random.default_rng(0).random((1, len(spec.leads), spec.length), dtype=np.float32)
    try:
        found = predictor.run(
            signals,
            np.array([spec.length]),
            np.zeros((1, len(spec.context)), dtype=np.float32) if spec.context else None,
        )
    except Exception as error:  # of onnxruntime, whose exceptions have no common class
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path} contradicts itself: it cannot predict beats as it states them: {why}") from error
    if found.shape != (1, len(predictor.classes)) or not np.isclose(found.sum(), 1, atol=1e-3):
        raise CheckpointError(
            f"{path} predicts {found[:1]}, expected a probability for each of {', '.join(predictor.classes)}: its "
            "weights are damaged, or its training has diverged"
        )


def fitted(kind: type[T], plain: Mapping[str, Any] | None, path: Path) -> T | None:
    """The calibration or the operating point of a checkpoint; CheckpointError if it is malformed."""
    try:
        return None if plain is None else kind.from_plain(plain)
    except (ConfigError, TypeError, AttributeError, ValueError) as error:
        what = "a calibration" if kind is Calibration else "an operating point"
        raise CheckpointError(f"{path} has {what} that is malformed: {error}") from error


def _run_baseline(checkpoint: "Checkpoint", calibration: Calibration | None) -> Run:
    from ecg_lightning.training.estimator import SklearnEstimator

    estimator = SklearnEstimator.load(checkpoint)
    spec = estimator.input

    def run(signals: FloatArray, lengths: IntArray, context: FloatArray | None) -> npt.NDArray[np.float32]:
        beats = Beats(
            signals=signals,
            lengths=lengths,
            context=context,
            lead_names=tuple(map(str, spec.leads)),
            classes=estimator.task.classes,
            fs=spec.fs or 0.0,
            context_names=spec.context,
        )
        probabilities = estimator.predict_proba(beats)
        return probabilities if calibration is None else calibration.apply(probabilities)

    return run


def _run_ensemble(checkpoint: "Checkpoint", calibration: Calibration | None, device: Literal["cpu", "auto"]) -> Run:
    from ecg_lightning.training.checkpoint import members_of
    from ecg_lightning.training.ensemble import combine
    from ecg_lightning.training.estimator import weights_of

    members = [checkpoint_predictor(member, device=device) for member in members_of(checkpoint)]
    weights, mean = weights_of(checkpoint), checkpoint.require()["model"]["mean"]

    def run(*arrays: Any) -> npt.NDArray[np.float32]:
        probabilities = combine(np.stack([member(*arrays) for member in members]), weights, mean)
        return probabilities if calibration is None else calibration.apply(probabilities)

    return run


def unsigned_digest(content: bytes, digest: str) -> str:
    """The SHA-256 of an exported file before its `digest` was put in the place of `UNSIGNED`."""
    before = content.replace(digest.encode(), UNSIGNED.encode()) if len(digest) == len(UNSIGNED) else content
    return sha256(before).hexdigest()


def onnx_predictor(content: bytes, path: Path) -> Predictor:
    """The predictor of an exported file, of which `path` is named in errors: see `load_predictor`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{path} is run by onnxruntime: pip install 'ecg-lightning[export]'") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # of a batch; several are predicted side by side
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        stated = json.loads(session.get_modelmeta().custom_metadata_map.get(ONNX_KEY, "{}"))
    except Exception as error:  # onnxruntime's have no common class
        raise CheckpointError(f"{path} is cut off, damaged or no ONNX model: onnxruntime cannot read it") from error
    if not isinstance(stated, dict) or type(stated.get("format")) is not int:
        raise CheckpointError(f"{path} does not state its input and classes; give a file of ecg-lightning export")
    if stated["format"] > ONNX_FORMAT:
        raise CheckpointError(
            f"{path} has format {stated['format']}, this version reads up to {ONNX_FORMAT}; install a newer version"
        )
    if "sha256" in stated and stated["sha256"] != unsigned_digest(content, str(stated["sha256"])):
        raise CheckpointError(f"{path} is damaged: it does not have the checksum that it states; export it again")
    taken = [one.name for one in session.get_inputs()]

    def run(*arrays: Any) -> npt.NDArray[np.float32]:
        given = dict(zip(ONNX_INPUTS, arrays, strict=True))
        return session.run(None, {name: given[name] for name in taken})[0]  # type: ignore[no-any-return]

    if stated.get("around"):
        run = in_sequence(run)

    try:
        calibration = fitted(Calibration, stated["calibration"], path)
        return _predictor(stated, path, calibration, run, _batch_on_cpu(stated), available_threads())
    except (LookupError, TypeError, ValueError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{path} has metadata that are incomplete or malformed: {error}") from error

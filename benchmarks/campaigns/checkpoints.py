"""Damaged and hostile checkpoints, weights and exported networks, and the commands that read them."""

import atexit
import copy
import io
import json
import os
import pickle
import reprlib
import shutil
import struct
import tarfile
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from campaigns.frame import Case, run
from ecg_lightning.core.weights import FOLDER
from ecg_lightning.models.baselines import fit_reference
from ecg_lightning.training.checkpoint import network_of

UNUSED = "the damage is in padding or in fields that nobody reads; all that is read has its checksum"
SHOWN = "metadata that this command shows as they are, or does not use"
CARD = "a card is text that may be edited; the checksum in it is that of the arrays"
INSPECTED = "inspect shows what a file holds, also where its parts do not fit each other"
CONVERTED = "weights of another precision are converted, and fit"
LARGE = "weights may be large; what they predict is finite, or is refused"
NOT_LOADED = "a transfer loads the backbone alone, and the optimizer starts anew"

TINY = ["experiment=demo", "dataset.simulation.patients=6", "dataset.simulation.minutes=1", "model.channels=4",
        "model.hidden=4", "optimizer.schedule=constant", "trainer.max_epochs=1", "report=none"]  # fmt: skip
TORCH = ("network", "sequence", "baseline", "ensemble", "format 1", "state dict")


# What everything starts from


@cache
def _home() -> Path:
    """A folder with a trained ``run``, made once."""
    kept = tempfile.TemporaryDirectory(prefix="faults-checkpoints-")
    atexit.register(kept.cleanup)
    home = Path(kept.name)
    _run("train", *TINY, f"cache_dir={home / 'cache'}", f"hydra.run.dir={home / 'run'}")
    return home


def _run(*command: str) -> None:
    ended = run(command, cwd=Path(tempfile.gettempdir()), timeout_s=600)
    if ended.status:
        raise RuntimeError(f"ecg-lightning {' '.join(command)}: {ended.err}")


@cache
def _recording() -> Path:
    """Half a minute of a heart with 75 beats a minute."""
    import wfdb

    time = np.arange(30 * 360) / 360
    signal = np.exp(-0.5 * ((time % 0.8 - 0.4) / 0.012) ** 2) + 0.2 * np.exp(-0.5 * ((time % 0.8 - 0.65) / 0.04) ** 2)
    wfdb.wrsamp("made", fs=360, units=["mV"], sig_name=["II"], p_signal=signal[:, None], fmt=["16"],
                write_dir=str(_home()))  # fmt: skip
    return _home() / "made.hea"


@cache
def _rows() -> Path:
    """Beats in Kaggle's format."""
    rows = np.random.default_rng(0).random((20, 188))
    rows[:, -1] = np.arange(20) % 5
    np.savetxt(_home() / "rows.csv", rows, fmt="%.4f", delimiter=",")
    return _home() / "rows.csv"


@cache
def _content(kind: str) -> dict[str, Any]:
    """What a checkpoint of this kind holds."""
    if kind != "network":
        content, stated = _copy("network"), _copy("network")["hyper_parameters"]
    match kind:
        case "network":
            return torch.load(_home() / "run" / "checkpoints" / "last.ckpt", weights_only=True)  # type: ignore[no-any-return]
        case "state dict":
            return {name.removeprefix("model."): weight for name, weight in content["state_dict"].items()}
        case "sequence":
            stated["model"]["sequence"] = {"width": 4, "dilations": [1, 2], "dropout": 0.1}
            state = network_of(stated).state_dict()
        case "baseline":
            x = np.random.default_rng(0).random((60, stated["input"]["length"]), dtype=np.float32)
            stated["model"] = {"name": "gradient_boosting", "max_iter": 2}
            settings = {"max_iter": 2, "learning_rate": 0.1, "max_leaf_nodes": 4, "max_features": 1.0}
            arrays = fit_reference("gradient_boosting", settings, x, np.arange(60) % 5, seed=0)
            state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
            content |= {"epoch": None, "global_step": None}
        case "ensemble":
            scores = content["ecg_lightning"]["scores"]
            member = {"hyperparameters": stated, "scores": scores, "epoch": 1, "step": 1, "overrides": []}
            own = {"name": "ensemble", "mean": "arithmetic", "weights": "equal"}
            stated = {"task": stated["task"], "input": stated["input"], "about": stated["about"], "model": own,
                      "members": [member, copy.deepcopy(member)]}  # fmt: skip
            plain = _content("state dict").items()
            state = {f"{i}.{name}": weight for i in range(2) for name, weight in plain}
            state["weights"] = torch.tensor([0.5, 0.5], dtype=torch.float64)
            content |= {"epoch": None, "global_step": None}
        case "format 1":
            _to_format_1(content)
            return content
    content["hyper_parameters"] = stated
    content["state_dict"] = {f"model.{name}": weight for name, weight in state.items()}
    content["ecg_lightning"].pop("calibration", None)
    return content


def _to_format_1(content: dict[str, Any]) -> None:
    """As version 0.1 wrote it."""
    stated, about = content["hyper_parameters"], content["hyper_parameters"]["about"]
    config, transfer = about["config"], {"arm": "none", "checkpoint": None, "backbone_lr": 1.0, "frozen_epochs": 0}
    dataset = config["dataset"]
    old = {"name": "mitbih", "lead": 0, "drop_duplicates": False, "recorded_fs": 360, "cut": {**dataset["cut"]}}
    keys = ("protocol", "test_fraction", "validation_fraction", "seed", "train_size")
    config |= {
        "source": {"name": "synthetic", **dataset["simulation"]},
        "dataset": old,
        "split": {key: config["split"].get(key) for key in keys},
        "transfer": transfer,
    }
    about |= {"data": {"dataset": "mitbih", "lead": 0, **dataset["cut"], "protocol": "a sentence"}, "origin": None}
    content["hyper_parameters"] = {
        **{key: stated[key] for key in ("task", "model", "optimizer", "loss", "class_counts", "about")},
        **{"length": stated["input"]["length"], "context": [], "transfer": transfer},
    }
    content["ecg_lightning"]["format"] = 1


def _copy(kind: str) -> dict[str, Any]:
    return copy.deepcopy(_content(kind))


@cache
def _file(kind: str) -> Path:
    """A whole file of this kind."""
    home = _home()
    match kind:
        case "weights":
            _run("weights", "make", str(home / "run"), "--name=tiny", "--title=tiny", f"--output={home}")
            return home / "tiny.safetensors"
        case "detector":
            return FOLDER / "rpeaks.safetensors"
        case "onnx":
            _run("export", str(home / "run"), f"--output={home / 'tiny.onnx'}", f"--cache-dir={home / 'cache'}")
            return home / "tiny.onnx"
    path = home / f"{kind.replace(' ', '_')}.ckpt"
    torch.save(_content(kind), path)
    return path


def _put(kind: str, folder: Path, content: bytes | None = None) -> Path:
    """A file of this kind in the folder of a case, with the card beside it where it has one."""
    whole = _file(kind)
    path = folder / f"damaged{whole.suffix}"
    path.write_bytes(whole.read_bytes() if content is None else content)
    if kind in ("weights", "detector"):
        shutil.copy(whole.with_suffix(".json"), path.with_suffix(".json"))
    return path


# The commands


SHARED = ("inspect", "evaluate", "annotate")
READ_BY = {
    "network": (*SHARED, "transfer", "resume", "export", "weights make", "ensemble"),
    "sequence": (*SHARED, "transfer"),
    "baseline": (*SHARED, "weights make", "ensemble"),
    "ensemble": SHARED,
    "format 1": (*SHARED, "transfer"),
    "state dict": ("inspect", "transfer"),
    "weights": (*SHARED, "transfer"),
    "onnx": ("annotate",),
    "detector": ("detector",),
}


def _command(file: Path, kind: str, folder: Path, random: Random, *names: str) -> list[str]:
    """One of the commands that read such a file, or one of these `names`."""
    possible = READ_BY[kind]
    cache_dir, good = _home() / "cache", str(_file("network"))
    train = ["train", *TINY, f"cache_dir={cache_dir}", f"hydra.run.dir={folder / 'out'}"]
    annotate = ["annotate", str(_recording()), f"--output={folder / 'out'}", "--format=csv,json"]
    name = random.choice([one for one in possible if one in names] or possible)
    match name:
        case "inspect":
            return [
                "inspect",
                *random.choice([[str(file)], [str(file), "--json"], [str(file), good], [good, str(file)]]),
            ]
        case "evaluate":
            on = random.choice([[], [] if kind == "sequence" else [f"--csv={_rows()}"]])
            return ["evaluate", str(file), f"--cache-dir={cache_dir}", *on]
        case "annotate":
            return [*annotate, f"--model={file}"]
        case "detector":
            return [*annotate, f"--detector=network:{file}"]
        case "export":
            return ["export", str(file), f"--output={folder / 'out.onnx'}", f"--cache-dir={cache_dir}"]
        case "transfer":
            return [*train, "transfer=finetune", f"transfer.checkpoint={file}"]
        case "resume":
            return [*train, f"ckpt_path={file}", "trainer.max_epochs=2"]
    own = folder / "run"
    shutil.copytree(_home() / "run", own, ignore=shutil.ignore_patterns("*.ckpt"))
    file.rename(own / "checkpoints" / "best.ckpt")
    if name == "weights make":
        return ["weights", "make", str(own), "--name=made", "--title=made", f"--output={folder}"]
    runs = [str(own), str(_home() / "run")]
    random.shuffle(runs)
    return ["ensemble", *runs, f"--output={folder / 'out'}", f"--cache-dir={cache_dir}"]


# Damaged bytes


def _flip(data: bytearray, random: Random) -> str:
    bit = random.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    return f"bit {bit} flipped"


def _flip_many(data: bytearray, random: Random) -> str:
    n = random.randrange(2, 100)
    for _ in range(n):
        _flip(data, random)
    return f"{n} bits flipped"


def _cut(data: bytearray, random: Random) -> str:
    n = random.choice([0, 1, 4, 100, len(data) // 2, len(data) - 22, len(data) - 1, random.randrange(len(data))])
    del data[n:]
    return f"cut off after {n} bytes"


def _zeros(data: bytearray, random: Random) -> str:
    first, n = random.randrange(len(data)), random.choice([1, 64, 512, 4096])
    data[first : first + n] = bytes(len(data[first : first + n]))
    return f"{n} zeros at {first}"


def _insert(data: bytearray, random: Random) -> str:
    at, n = random.choice([0, len(data), random.randrange(len(data))]), random.choice([1, 16, 5000])
    data[at:at] = random.randbytes(n)
    return f"{n} bytes inserted at {at}"


def _remove(data: bytearray, random: Random) -> str:
    at, n = random.randrange(len(data)), random.choice([1, 16, 5000])
    del data[at : at + n]
    return f"{n} bytes removed at {at}"


def _swap(data: bytearray, random: Random) -> str:
    n = len(data) // 8
    one, other = random.randrange(4) * n, random.randrange(4, 8) * n
    data[one : one + n], data[other : other + n] = data[other : other + n], data[one : one + n]
    return f"bytes from {one} and {other} exchanged"


BYTES = [_flip, _flip, _flip, _flip_many, _cut, _cut, _zeros, _insert, _remove, _swap]


def damaged_bytes(folder: Path, random: Random) -> Case:
    """A file of any kind that is not what was written."""
    kind = random.choice([*TORCH, "weights", "weights", "onnx", "onnx", "detector", "card"])
    if kind == "card":
        kind = random.choice(["weights", "detector"])
        file = _put(kind, folder)
        part = file.with_suffix(".json")
    else:
        file = part = _put(kind, folder)
    whole, changed = part.read_bytes(), bytearray(part.read_bytes())
    what = random.choice(BYTES)(changed, random)
    part.write_bytes(changed)
    if part.suffix == ".json":
        accepted = CARD
    elif bytes(changed) == whole:
        accepted = "nothing is changed"
    else:
        accepted = UNUSED if part.suffix == ".ckpt" and _same_members(whole, bytes(changed)) else None
    return Case("bytes", f"{kind}, {part.name}: {what}", _command(file, kind, folder, random), accepted)


def _same_members(one: bytes, other: bytes) -> bool:
    """Whether two ZIP archives hold the same."""
    try:
        sides = [zipfile.ZipFile(io.BytesIO(side)) for side in (one, other)]
        return sides[0].namelist() == sides[1].namelist() and all(
            sides[0].read(name) == sides[1].read(name) for name in sides[0].namelist()
        )
    except Exception:
        return False


# Other archives


def _members(kind: str) -> dict[str, bytes]:
    with zipfile.ZipFile(_file(kind)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write_archive(path: Path, members: Sequence[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def _without(name: str) -> Callable[[Path, list[tuple[str, bytes]]], None]:
    return lambda path, members: _write_archive(path, [one for one in members if not one[0].endswith(name)])


def _doubled(path: Path, members: list[tuple[str, bytes]]) -> None:
    _write_archive(path, [*members, (members[0][0], b"\x80\x02]."), (members[-1][0], b"")])


def _renamed(to: str) -> Callable[[Path, list[tuple[str, bytes]]], None]:
    return lambda path, members: _write_archive(path, [(to + name.partition("/")[2], data) for name, data in members])


def _compressed(path: Path, members: list[tuple[str, bytes]]) -> None:
    _write_archive(path, members, zipfile.ZIP_DEFLATED)


def _bomb(path: Path, members: list[tuple[str, bytes]]) -> None:
    bomb = [(name, bytes(2**26) if "/data/" in name else data) for name, data in members[:5]]
    _write_archive(path, bomb, zipfile.ZIP_DEFLATED)


def _declared(field: int, size: int) -> Callable[[Path, list[tuple[str, bytes]]], None]:
    def write(path: Path, members: list[tuple[str, bytes]]) -> None:
        _write_archive(path, members)
        data = bytearray(path.read_bytes())
        at = data.find(b"PK\x01\x02")
        while at >= 0:
            struct.pack_into("<I", data, at + field, size)
            at = data.find(b"PK\x01\x02", at + 1)
        path.write_bytes(data)

    return write


def _overlapping(path: Path, members: list[tuple[str, bytes]]) -> None:
    """A thousand entries with the same megabytes."""
    _write_archive(path, [*members, ("archive/data/x", bytes(2**22))])
    with zipfile.ZipFile(path, "a") as archive:
        large = archive.infolist()[-1]
        for i in range(1000):
            one = copy.copy(large)
            one.filename = f"archive/data/{1000 + i}"
            archive.filelist.append(one)
            archive.NameToInfo[one.filename] = one
        archive._didModify = True


def _many(path: Path, members: list[tuple[str, bytes]]) -> None:
    _write_archive(path, [*members, *((f"archive/data/{10_000 + i}", b"") for i in range(20_000))])


def _nested(path: Path, members: list[tuple[str, bytes]]) -> None:
    inner = path.with_suffix(".inner")
    _write_archive(inner, members)
    _write_archive(path, [("archive/data.pkl", inner.read_bytes())])


def _tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in [*members, ("../../outside", b"x"), ("pickle", b"\x80\x02}."), ("sys_info", b"\x80\x02}.")]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


ARCHIVES: dict[str, Callable[[Path, list[tuple[str, bytes]]], None]] = {
    "without data.pkl": _without("data.pkl"),
    "without the first tensor": _without("/data/0"),
    "without all but data.pkl": lambda path, members: _write_archive(path, [("archive/data.pkl", members[0][1])]),
    "empty": lambda path, members: _write_archive(path, []),
    "members doubled": _doubled,
    "names that leave the folder": _renamed("../../../"),
    "absolute names": _renamed("/tmp/"),
    "names with escapes": _renamed("\x1b[31m/"),
    "compressed": _compressed,
    "a bomb": _bomb,
    "stored size of 2 GiB": _declared(20, 2**31),
    "size of 4 GiB": _declared(24, 2**32 - 2),
    "all offsets of 1 GiB": _declared(42, 2**30),
    "overlapping members": _overlapping,
    "20,000 members": _many,
    "an archive in an archive": _nested,
    "a tar": _tar,
}
UNREAD = {
    "20,000 members": "members that the content does not name are not read",
    "names with escapes": "the folder inside an archive may have any name, which is not shown",
}


def other_archive(folder: Path, random: Random) -> Case:
    """A ZIP archive with a structure that torch does not write."""
    kind, name = random.choice(TORCH), random.choice(sorted(ARCHIVES))
    path = folder / "damaged.ckpt"
    ARCHIVES[name](path, sorted(_members(kind).items(), key=lambda one: not one[0].endswith("data.pkl")))
    return Case("archive", f"{kind}: {name}", _command(path, kind, folder, random), UNREAD.get(name))


# Pickles

EXITS = b"(K\x4dt"  # the arguments of os._exit: a command that ran code ends with status 77
STORAGE = b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%btQ"
PICKLES: dict[str, bytes] = {
    "GLOBAL REDUCE": b"cos\n_exit\n" + EXITS + b"R.",
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x05_exit\x93" + EXITS + b"R.",
    "INST": b"(K\x4dios\n_exit\n.",
    "OBJ": b"(cos\n_exit\nK\x4do.",
    "NEWOBJ": b"cos\n_exit\n" + EXITS + b"\x81.",
    "NEWOBJ_EX": b"cos\n_exit\n" + EXITS + b"}\x92.",
    "BUILD": b"ccollections\nOrderedDict\n)R}X\x0b\x00\x00\x00__reduce__XX\x01\x00\x00\x00asb.",
    "BUILD with __dict__": b"ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsX\x01\x00\x00\x00asb}b.",
    "EXT1": b"\x82\x01.",
    "EXT4": b"\x84\xff\xff\xff\x7f.",
    "builtins eval": b"cbuiltins\neval\n(X\x16\x00\x00\x00__import__('os')._exit(R.",
    "builtins getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nX\x01\x00\x00\x00atR.",
    "a module with escapes": b"c\x1b[31mos\x1b]0;t\x07\n_exit\n" + EXITS + b"R.",
    "a module with newlines in its name": b"\x8c\x05a\nb\rc\x8c\x05_exit\x93" + EXITS + b"R.",
    "torch.load": b"ctorch\nload\n(X\x01\x00\x00\x00atR.",
    "torch.serialization load": b"ctorch.serialization\nload\n(X\x01\x00\x00\x00atR.",
    "torch.hub": b"ctorch.hub\nload\n(X\x01\x00\x00\x00atR.",
    "pickle.loads": b"cpickle\nloads\n(C\x01.tR.",
    "100,000 lists in lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "100,000 tuples": b")" + b"\x85" * 100_000 + b".",
    "text of 4 GiB": b"X\xff\xff\xff\x7fabc.",
    "text of 2⁶⁰ bytes": b"\x8d" + struct.pack("<Q", 2**60) + b"abc.",
    "bytes of 2⁶⁰": b"\x8e" + struct.pack("<Q", 2**60) + b"abc.",
    "a frame of 2⁶⁰": b"\x95" + struct.pack("<Q", 2**60) + b"}.",
    "a number of 2³⁰ bytes": b"\x8b" + struct.pack("<i", 2**30) + b"\x01.",
    "a number of -1 bytes": b"\x8b" + struct.pack("<i", -1) + b"\x01.",
    "a number of 200,000 bytes": b"}X\x01\x00\x00\x00a\x8b" + struct.pack("<i", 200_000) + b"\x01" * 200_000 + b"s.",
    "bytearray of 64 GiB": b"cbuiltins\nbytearray\n(\x8a\x05\x00\x00\x00\x00\x10tR.",
    "memo that is not there": b"h\x07.",
    "memo of 2³²": b"}r\xff\xff\xff\xff.",
    "empty stack": b"aaaa.",
    "no STOP": b"}}}}",
    "unknown opcode": b"\xff\xff.",
    "PERSID": b"Pabc\n.",
    "BINPERSID of text": b"X\x01\x00\x00\x00aQ.",
    "BINPERSID of a short tuple": b"(X\x07\x00\x00\x00storagetQ.",
    "a storage alone": STORAGE.replace(b"%b", b"K\x0a") + b".",
    "a storage that is not there": STORAGE.replace(b"\x01\x00\x00\x000", b"\x02\x00\x00\x0099").replace(b"%b", b"K\x0a")
    + b".",
    "a list of itself": b"]q\x00h\x00a.",
    "a mapping of itself": b"}q\x00X\x01\x00\x00\x00ah\x00s.",
    "a key of itself": b"}q\x00h\x00h\x00s.",
    "keys that are lists": b"}]]s.",
    "None": b"N.",
    "a Counter of itself": b"ccollections\nCounter\nq\x00)Rq\x01h\x01h\x01s.",
    "codecs": b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR.",
    "codecs that do not exist": b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00\x1b[mtR.",
}
REBUILDS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_qtensor",
            "_rebuild_sparse_tensor", "_rebuild_meta_tensor_no_storage", "_rebuild_nested_tensor",
            "_rebuild_device_tensor_from_numpy", "_rebuild_wrapper_subclass")  # fmt: skip
ARGUMENTS = (b")", b"(NNNNNNNt", b"(K\x01t", b"(J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x85t", b"(]]]]]t",
             b"(ctorch\nfloat32\nJ\xff\xff\xff\x7f\x85K\x01\x85\x89t")  # fmt: skip


def _hostile_pickles() -> Iterator[tuple[str, bytes]]:
    yield from PICKLES.items()
    for function in REBUILDS:
        for i, arguments in enumerate(ARGUMENTS):
            yield f"{function} {i}", b"ctorch._utils\n" + function.encode() + b"\n" + arguments + b"R."


def hostile_pickle(folder: Path, random: Random) -> Case:
    """An archive, or a file as torch wrote before 1.6, whose pickle is not one of torch."""
    name, code = random.choice(sorted(_hostile_pickles()))
    where, kind = random.choice(["alone", "in the metadata", "as a weight"]), random.choice(TORCH)
    if where == "in the metadata":
        key = random.choice([b"hyper_parameters", b"ecg_lightning", b"state_dict", b"epoch"])
        code = b"}X" + struct.pack("<I", len(key)) + key + code[:-1] + b"sX\x0d\x00\x00\x00ecg_lightning}s."
    elif where == "as a weight":
        code = b"}X\x0a\x00\x00\x00fc1.weight" + code[:-1] + b"s."
    code, path = b"\x80\x02" + code, folder / "damaged.ckpt"
    match random.choice(["archive", "archive", "legacy", "bare"]):
        case "archive":
            others = [one for one in _members(kind).items() if not one[0].endswith("data.pkl")]
            root = others[0][0].partition("/")[0]
            _write_archive(path, [(f"{root}/data.pkl", code), *others])
        case "legacy":
            magic = (pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
            path.write_bytes(b"".join([*magic, code, pickle.dumps([], 2)]))
        case "bare":
            path.write_bytes(code)
    return Case("pickle", f"{kind}: {name}, {where}", _command(path, kind, folder, random))


# Metadata


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _laughs() -> list[Any]:
    value: list[Any] = ["laugh"]
    for _ in range(10):
        value = [value] * 10
    return value


def _circle() -> dict[str, Any]:
    own: dict[str, Any] = {}
    own["origin"] = own
    return own


ESCAPES = "\x1b]0;title\x07\x1b[2J\x1b[31m\x9b31m\r\b"
NUMBERS: tuple[Any, ...] = (-1, -(2**70), 2**70, 10**12, 1e308, -0.5, float("nan"), float("inf"))
TEXTS = (
    "",
    "abc",
    "x" * 100_000,
    ESCAPES,
    "[red]x[/b]",
    "a\nb\r\n\n",
    "../../../etc/passwd",
    "\u202e\u0000\ud83d\udca9",
    "\udcff",
)
LISTS: tuple[Any, ...] = ([], [None], [[1, 2], [3]], list(range(5000)), ["x"] * 3, _deep(300))
MAPPINGS: tuple[Any, ...] = ({}, {"a": 1}, {"name": "os.system"}, {ESCAPES: ESCAPES}, {"": {"": {}}})
FAMILIES: dict[type, tuple[Any, ...]] = {float: NUMBERS, str: TEXTS, list: LISTS, dict: MAPPINGS}
ONLY_TORCH: tuple[Callable[[], Any], ...] = (
    _circle, _laughs, lambda: b"bytes", lambda: (1, 2), lambda: {1, 2}, lambda: 1j, lambda: torch.ones(3),
    lambda: torch.float32, lambda: torch.Size([3]), lambda: OrderedDict(a=1), lambda: {1: 2, (3, 4): 5},
    lambda: torch.device("cpu"), lambda: _deep(400), lambda: 10**5000,
)  # fmt: skip

# What decides how a file is read or what a model predicts: a value of another kind is never right there.
DECIDES = ("task", "model", "input.length", "input.context", "input.leads", "members", "length", "about.classes",
           "state_dict", "format", "calibration", "operating_point", "sha256")  # fmt: skip


def _paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where plain values are: keys of mappings and positions of lists."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        if not isinstance(child, torch.Tensor):
            yield (*at, key)
            yield from _paths(child, (*at, key))


def _family(value: Any) -> type | None:
    if isinstance(value, bool | int | float):
        return float
    return next((kind for kind in (str, list, dict) if isinstance(value, kind)), None)


def _replace(content: Any, random: Random, *, plain: bool) -> tuple[str, bool]:
    """Change one value; returns what was done, and whether the result is certainly wrong."""
    paths = [one for one in _paths(content) if one[0] not in RESUMED]
    # Of every group alike, so that the many lists of the configuration are not all that is tried.
    groups = sorted({".".join(map(str, one[:3])) for one in paths})
    group = random.choice(groups)
    path = random.choice([one for one in paths if ".".join(map(str, one[:3])) == group])
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    own, dotted = parent[path[-1]], ".".join(map(str, path))
    decides = dotted.removeprefix(f"{path[0]}." if path[0] in GROUPS else "").startswith(DECIDES)
    match random.choice(["missing", "extra", "kind", "kind", "kind", "value", "value", "odd"]):
        case "missing" if isinstance(parent, dict):
            del parent[path[-1]]
            return f"{dotted} missing", path[-1] in ("state_dict", "task", "model", *GROUPS)
        case "extra" if isinstance(own, dict):
            own[random.choice(["extra", "__class__", "_target_", ESCAPES])] = random.choice([1, "os.system", {}])
            return f"{dotted} with one more", False
        case "value" if (kind := _family(own)) is not None:
            new = random.choice(FAMILIES[kind])
            wrong = decides and path[-1] in ("length", "temperature") and new not in (1e308,)
        case "odd" if not plain:
            new, wrong = random.choice(ONLY_TORCH)(), decides
            wrong &= not isinstance(new, (tuple, OrderedDict))
        case _:
            kind = random.choice([one for one in FAMILIES if one is not _family(own)])
            new, wrong = random.choice(FAMILIES[kind]), decides and own is not None
    parent[path[-1]] = new
    return f"{dotted} = {_shown(new)}", wrong


def _shown(value: Any) -> str:
    try:
        return reprlib.repr(value)[:60]  # repr writes out a billion laughs
    except ValueError:  # of numbers with thousands of digits
        return f"an odd {type(value).__name__}"


def odd_metadata(folder: Path, random: Random) -> Case:
    """A file whose parts are whole, but state something else."""
    kind = random.choice([*(one for one in TORCH if one != "state dict"), "network", "weights", "onnx"])
    if kind == "onnx":
        file, what, wrong = _odd_onnx(folder, random)
    elif kind == "weights":
        file = _put(kind, folder)
        card = json.loads(file.with_suffix(".json").read_text())
        what, wrong = _replace(card, random, plain=True)
        text, (odd, replaced) = json.dumps(card), random.choice([("", ""), *JSON.items()])
        file.with_suffix(".json").write_text(replaced or text)
        what, wrong = (odd, True) if replaced else (what, wrong)
    else:
        content, file = _copy(kind), folder / "damaged.ckpt"
        what, wrong = _replace(content, random, plain=False)
        torch.save(content, file)
    command = _command(file, kind, folder, random)
    if command[0] == "train" and ("calibration" in what or "operating_point" in what):
        wrong = False  # training does not use them
    return Case("metadata", f"{kind}: {what}", command, None if wrong else SHOWN)


JSON = {  # cards that are none
    "an empty card": " ", "a list": "[]", "null": "null", "a number": "1", "cut off": '{"sha256": ',
    "100,000 lists in lists": "[" * 100_000 + "]" * 100_000, "100,000 mappings": '{"a":' * 100_000,
    "escapes": ESCAPES, "a number of 5,000 digits": '{"sha256": ' + "9" * 5000 + "}", "NUL": "\0" * 100,
}  # fmt: skip


def _odd_onnx(folder: Path, random: Random) -> tuple[Path, str, bool]:
    import onnx

    model = onnx.load(_file("onnx"))
    stated = {one.key: one.value for one in model.metadata_props}
    own = json.loads(stated["ecg_lightning"])
    what, wrong = _replace(own, random, plain=True)
    text, (odd, replaced) = json.dumps(own), random.choice([("", ""), *JSON.items()])
    onnx.helper.set_model_props(model, {**stated, "ecg_lightning": (replaced or text).replace("\0", "")})
    onnx.save(model, folder / "damaged.onnx")
    return folder / "damaged.onnx", odd or what, bool(odd) or wrong


GROUPS = ("hyper_parameters", "hyperparameters", "ecg_lightning")
RESUMED = ("optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "pytorch-lightning_version",
           "hparams_name", "MixedPrecision", "averaging_state", "current_model_state")  # fmt: skip


# Tensors


TENSORS: dict[str, tuple[Callable[[torch.Tensor], Any], str | None]] = {
    "NaN": (lambda one: torch.full_like(one, torch.nan) if one.is_floating_point() else None, None),
    "one NaN": (lambda one: _with_first(one, torch.nan), None),
    "one infinity": (lambda one: _with_first(one, torch.inf), None),
    "all 1e38": (lambda one: torch.full_like(one, 1e38) if one.is_floating_point() else None, LARGE),
    "one row more": (lambda one: torch.cat([one, one]) if one.ndim else one.expand(2).clone(), None),
    "one dimension more": (lambda one: one[None].clone(), None),
    "no dimension": (lambda one: torch.tensor(1.0) if one.ndim else torch.ones(3, 3), None),
    "nothing": (lambda one: one.new_zeros(0), None),
    "complex": (lambda one: one.to(torch.complex64), None),
    "whole numbers": (lambda one: one.to(torch.int32) if one.is_floating_point() else one.to(torch.complex64), None),
    "true and false": (lambda one: one.bool(), None),
    "sparse": (lambda one: one.to_sparse(), None),
    "on no device": (lambda one: one.to("meta"), None),
    "on no device, huge": (lambda one: torch.empty(10**12, device="meta"), None),
    "floats of 8 bits": (lambda one: one.float().to(torch.float8_e5m2), None),
    "huge with stride 0": (lambda one: torch.zeros(1).expand(10**6, 10**6), None),
    "overlapping": (lambda one: torch.zeros(4).as_strided((10**5, 10**5), (0, 0)), None),
    "a list": (lambda one: one.tolist(), None),
    "text": (lambda one: "weights", None),
    "null": (lambda one: None, None),
    "half precision": (lambda one: one.half() if one.is_floating_point() else one, CONVERTED),
    "double precision": (lambda one: one.double() if one.is_floating_point() else one, CONVERTED),
    "with gradient": (lambda one: torch.nn.Parameter(one) if one.is_floating_point() else one, CONVERTED),
    "a part of another": (lambda one: torch.stack([one, one], dim=-1)[..., 0], CONVERTED),
}


SHAPES = {
    "one row more",
    "one dimension more",
    "no dimension",
    "nothing",
    "whole numbers",
    "missing",
    "extra",
    "renamed",
}


def _with_first(one: torch.Tensor, value: float) -> torch.Tensor | None:
    if not one.is_floating_point() or not one.numel():
        return None
    one = one.clone().contiguous()
    one.view(-1)[0] = value
    return one


def odd_tensors(folder: Path, random: Random) -> Case:
    """A checkpoint with weights of another form."""
    kind = random.choice(TORCH)
    content, file = _copy(kind), folder / "damaged.ckpt"
    state = content if kind == "state dict" else content["state_dict"]
    name = random.choice(sorted(state))
    what = random.choice([*sorted(TENSORS), "missing", "extra", "renamed"])
    accepted = None
    if what in TENSORS:
        change, accepted = TENSORS[what]
        state[name] = change(state[name])
    elif what == "extra":
        state[f"{name}.extra"] = torch.ones(3)
    else:
        weight = state.pop(name)
        if what == "renamed":
            state[f"{ESCAPES}{name}"] = weight
    torch.save(content, file)
    command = _command(file, kind, folder, random)
    if accepted is None and command[0] == "inspect":
        accepted = INSPECTED if kind in ("state dict", "baseline") and what in SHAPES else None
    if accepted is None and command[0] == "train" and ".fc" in f".{name.removeprefix('model.')}":
        accepted = NOT_LOADED
    return Case("tensors", f"{kind}: {name}: {what}", command, accepted)


# What is no file of ours


def _folder(path: Path) -> None:
    (path / "checkpoints" / "best.ckpt").mkdir(parents=True)


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _saved(value: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(value, path)


def _numpy(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, a=np.ones(3))


def _scripted(path: Path) -> None:
    with path.open("wb") as file:
        torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), file)


def _safetensors(path: Path) -> None:
    from safetensors.torch import save

    path.write_bytes(save({"embeddings.weight": torch.ones(3, 3)}))


def _small_onnx(path: Path) -> None:
    import onnx
    from onnx.helper import make_graph, make_model, make_node, make_tensor_value_info

    x, y = (make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy")
    onnx.save(make_model(make_graph([make_node("Relu", ["x"], ["y"])], "g", [x], [y])), path)


LIGHTNING = {"state_dict": {"encoder.weight": torch.ones(2, 2)}, "hyper_parameters": {"lr": 0.1}, "epoch": 3,
             "global_step": 5, "pytorch-lightning_version": "2.5.0", "callbacks": {}, "loops": {}}  # fmt: skip
OTHERS: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    "0 bytes": _bytes(b""),
    "an empty folder": lambda path: path.mkdir(),
    "folders all the way": _folder,
    "a pipe": lambda path: os.mkfifo(path),
    "/dev/zero": _link("/dev/zero"),
    "/dev/full": _link("/dev/full"),
    "/dev/null": _link("/dev/null"),
    "/dev/stdin": _link("/dev/stdin"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": _link("nowhere"),
    "HTML": _bytes(b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n" * 20),
    "a Git LFS pointer": _bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
    "JSON": _bytes(b'{"model": "cnet"}'),
    "PNG": _bytes(b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "gzip": _bytes(b"\x1f\x8b\x08\x00" + bytes(100)),
    "HDF5": _bytes(b"\x89HDF\r\n\x1a\n" + bytes(2000)),
    "a million NUL": _bytes(bytes(10**6)),
    "a pickle of numpy": lambda path: path.write_bytes(pickle.dumps(np.ones(3))) and None,
    "npz": _numpy,
    "TorchScript": _scripted,
    "a checkpoint of another project": _saved(LIGHTNING),
    "a state dict of another project": _saved({"state_dict": {"module.layer1.weight": torch.ones(3, 3)}}),
    "a list": _saved([1, 2]),
    "a tensor": _saved(torch.ones(3)),
    "nothing saved": _saved({}),
    "an optimizer": _saved(torch.optim.SGD([torch.ones(1)], lr=0.1).state_dict()),
    "safetensors without a card": _safetensors,
    "ONNX of another project": _small_onnx,
    "a header of 2⁶⁰ bytes": _bytes(struct.pack("<Q", 2**60) + b"{}"),
    "a header of 99 MB": _bytes(struct.pack("<Q", 99 * 10**6) + b" " * 1000),
    "a legacy checkpoint": lambda path: torch.save(_content("network"), path, _use_new_zipfile_serialization=False),
    "a legacy state dict": lambda path: torch.save(_content("state dict"), path, _use_new_zipfile_serialization=False),
}
NAMES = (
    "damaged",
    ESCAPES.replace("\b", ""),
    "[red]x[/b]",
    "a\nb",
    "x" * 240,
    "\udcff\udcfe",
    "-",
    "ü 🫀",
    "'\"`$(id)",
)
PATHS = ("x" * 5000, "~nobody_of_this_name/best.ckpt", "", ".", "/", "/dev", "/dev/zero", "/dev/tty", "/proc/self/mem",
         "http://example.org/model.ckpt", "\x1b[31mred", "a\0b", "\udcff", "[/b]", "none/" * 500)  # fmt: skip


def other_file(folder: Path, random: Random) -> Case:
    """What is at the path is something else, or has an odd name."""
    kind = random.choice(["network", "network", "weights", "onnx", "detector"])
    suffix = {"network": ".ckpt", "onnx": ".onnx"}.get(kind, ".safetensors")
    if random.random() < 0.2:
        path = random.choice(PATHS)
        command = _command(Path("PATH"), kind, folder, random, *SHARED, "transfer", "export", "resume")
        return Case("path", f"{kind}: {path[:40]!r}", [_with(word, "PATH", path) for word in command])
    what, name = random.choice(sorted(OTHERS)), random.choice([*["damaged"] * 8, *NAMES])
    file = folder / f"{name.replace('/', '')}{suffix}"
    OTHERS[what](file)
    if suffix == ".safetensors" and random.random() < 0.7:  # a card beside it
        shutil.copy(_file(kind).with_suffix(".json"), file.with_suffix(".json"))
    return Case("no checkpoint", f"{kind}: {what}, {name!r}", _command(file, kind, folder, random))


def _with(word: str, old: str, new: str) -> str:
    return new if word == old else word.replace(f"={old}", f"={new}").replace(f":{old}", f":{new}")


def odd_card_file(folder: Path, random: Random) -> Case:
    """The card beside whole weights is something else."""
    kind, what = random.choice(["weights", "detector"]), random.choice(sorted(OTHERS))
    file = _put(kind, folder)
    file.with_suffix(".json").unlink()
    OTHERS[what](file.with_suffix(".json"))
    return Case("no card", f"{kind}: {what}", _command(file, kind, folder, random))


# What only resuming reads


def odd_state(folder: Path, random: Random) -> Case:
    """A ``last.ckpt`` whose state of the optimizer, the schedule or the loops is something else."""
    content, file = _copy("network"), folder / "last.ckpt"
    group = random.choice([key for key in RESUMED if key in content])
    paths = [(group,), *((group, *path) for path in _paths(content[group]))]
    path = random.choice([one for one in paths if random.random() < 0.3] or paths)
    parent = content
    for key in path[:-1]:
        parent = parent[key]
    own = parent[path[-1]]
    others = [one for kind, values in FAMILIES.items() for one in values if kind is not _family(own)]
    dotted, new = ".".join(map(str, path)), random.choice([None, *others])
    if random.random() < 0.3 and isinstance(parent, dict):
        del parent[path[-1]]
        what = f"{dotted} missing"
    else:
        parent[path[-1]], what = new, f"{dotted} = {_shown(new)}"
    torch.save(content, file)
    return Case("resume", what, _command(file, "network", folder, random, "resume"), STATE)


STATE = "a part of the state that training does not need, or that begins anew"

KINDS: dict[Callable[[Path, Random], Case], int] = {
    damaged_bytes: 5, other_archive: 3, hostile_pickle: 4, odd_metadata: 8, odd_tensors: 4, other_file: 4,
    odd_card_file: 1, odd_state: 2,
}  # fmt: skip


def campaign(folder: Path, random: Random) -> Case:
    """A wrong checkpoint, and a command that reads it."""
    return random.choices([*KINDS], [*KINDS.values()])[0](folder, random)

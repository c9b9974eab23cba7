"""Converts the hyperparameters of checkpoints of earlier formats.

Format 1 was written until version 0.1. Before version 0.2 was released its format 2 had a group ``source``, which
`with_card` turns into the card of a database.
"""

from collections.abc import Mapping
from typing import Any

OF_RECORDINGS = {"annotator", "class_map", "diagnoses", "patients", "recorded_fs"}  # of a card, and of no other
KAGGLE = {
    "mitbih": ("kaggle_mitbih", {"files": ["mitbih_train.csv", "mitbih_test.csv"], "test_file": "mitbih_test.csv",
               "labels": "last", "classes": ["N", "S", "V", "F", "Q"], "outside": "refuse"}),
    "ptbdb": ("kaggle_ptbdb", {"files": ["ptbdb_normal.csv", "ptbdb_abnormal.csv"], "test_file": None,
              "labels": "last", "classes": ["normal", "MI"], "outside": "refuse"}),
}  # fmt: skip

DIVIDES = {"random": "beats", "patient": "patients", "records": "records"}

DS1 = "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 230"
DS2 = "100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 234"
DS1_DS2 = {"protocol": "records", "name": "ds1_ds2", "train_records": DS1.split(), "test_records": DS2.split(),
           "left_out": {"paced": ["102", "104", "107", "217"]}}  # fmt: skip

CONTEXT = (("rhythm", "rhythm"), ("morphology", "likeness"))  # settings of format 2 and of format 1

# What format 1 had in its code.
DATASETS: Mapping[str, Mapping[str, Any]] = {
    "mitbih": {"title": "MIT-BIH Arrhythmia Database", "folder": "mitdb", "annotator": "atr", "class_map": "aami",
               "diagnoses": None, "patients": {"same": {"202": "201"}}},
    "ptbdb": {"title": "PTB Diagnostic ECG Database", "folder": "ptbdb", "annotator": None, "class_map": None,
              "diagnoses": {"Healthy control": "normal", "Myocardial infarction": "MI"}, "patients": "folder"},
}  # fmt: skip


def upgrade(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters of format 1 → format 2; raises `KeyError` or `TypeError` if they are malformed."""
    about = dict(stated.get("about") or {})
    about["data"] = data = _without_sentence(about.get("data") or {})
    if about.get("config"):
        about["config"] = config = with_card(_config(about["config"]))
        about["protocol"] = _protocol(config["split"])
    if about.get("origin"):
        about["origin"] = _origin(about["origin"])
    cut = data.get("cut", data)
    return {
        **{key: stated[key] for key in ("task", "model", "optimizer", "loss", "class_counts") if key in stated},
        "input": {
            "length": stated["length"],
            "fs": about.get("fs"),
            "leads": [data.get("lead", 0)],
            "context": list(stated.get("context") or ()),
            "cut": {key: cut[key] for key in ("rr_factor", "margin", "before", "scaling") if key in cut},
        },
        "transfer": _transfer(stated["transfer"]) if stated.get("transfer") else None,
        "about": about,
    }


def with_card(old: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with a group ``source`` → one with a card; others are returned as they are."""
    if "source" not in old:
        return dict(old)
    config = {"test_on": [], **old}
    source, dataset = dict(config.pop("source")), dict(old["dataset"])
    task = str(old["task"]["name"])
    card = {**dataset, "task": task, "reader": "wfdb", "gaps": "refuse"}
    others = {key: value for key, value in card.items() if key not in OF_RECORDINGS}
    match source.pop("name"):
        case "kaggle":
            name, rows = KAGGLE[dataset["name"]]
            card = others | {"name": name, "reader": "rows", "folder": "heartbeat", "rows": rows, "leads": ["II"]}
        case "synthetic":
            name = "synthetic" if task == "arrhythmia" else f"synthetic_{task}"
            card = others | {"name": name, "reader": "simulation", "folder": None, "simulation": source}
        case "physionet":
            codes: dict[str, list[str]] = {}
            for code, name in (dataset["diagnoses"] or {}).items():
                codes.setdefault(name, []).append(code)
            if codes:
                comment = {"comment": "Reason for admission", "table": None, "folder": False}
                card["diagnoses"] = comment | {"classes": codes}
        case reader:
            card |= {"reader": reader, "own": source}
    split = dict(old["split"])
    for new, before in (("train", "train_records"), ("test", "test_records")):
        if before in split:
            split[new] = split.pop(before)
    return {**config, "dataset": card, "split": split}


def _config(old: Mapping[str, Any]) -> dict[str, Any]:
    dataset, split, augmentation = dict(old["dataset"]), dict(old["split"]), dict(old["augmentation"])
    context, cut = dataset.pop("context", None) or {}, dict(dataset["cut"])
    before = cut.pop("before", 0.0)
    cut["length"] -= round(before * cut["fs"])  # it now counts from the R peak on
    if split["protocol"] == "ds1_ds2":
        split = {"shared_patients": split.pop("shared_patient", "both"), **split, **DS1_DS2}
    if isinstance(augmentation["resampling"], str):  # from before resampling and loss had settings of their own
        augmentation |= {"resampling": {"method": augmentation["resampling"]}, "balance": 0.0, "mixup": 0.0}
    return {
        "loss": {"name": "cross_entropy"},
        "dropout": None,
        **old,
        "dataset": {**DATASETS[dataset["name"]], "leads": [dataset.pop("lead", 0)], **dataset, "cut": cut},
        "split": split,
        "context": {new: bool(context.get(key)) for new, key in CONTEXT} | {"before": before},
        "transfer": _transfer(old["transfer"]),
        "augmentation": augmentation,
    }


def _transfer(old: Mapping[str, Any]) -> dict[str, Any]:
    return {"mode" if key == "arm" else key: value for key, value in old.items()}


def _without_sentence(data: Mapping[str, Any]) -> dict[str, Any]:
    """Without the protocol as a sentence; its fields follow from the settings of the split."""
    return {key: value for key, value in data.items() if key != "protocol"}


def _origin(old: Mapping[str, Any]) -> dict[str, Any]:
    parts = {"data": _without_sentence, "origin": _origin}
    return {k: parts[k](value) if k in parts and isinstance(value, Mapping) else value for k, value in old.items()}


def _protocol(split: Mapping[str, Any]) -> dict[str, Any]:
    by = DIVIDES[split["protocol"]]
    folds = {"fold": split.get("fold"), "n_folds": split.get("n_folds")} if split.get("fold") is not None else {}
    return {
        "name": split.get("name", split["protocol"]),
        "seed": split["seed"],
        "by": by,
        "test_fraction": None if folds or by == "records" else split.get("test_fraction"),
        "validation_fraction": split.get("validation_fraction"),
        **folds,
    }

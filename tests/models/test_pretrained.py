"""Networks with the weights that ship."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ecg_lightning as ecg
from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.weights import FOLDER, shipped_weights


@pytest.mark.parametrize("name", ecg.list_pretrained())
def test_weights_that_ship_are_one_call_and_state_what_they_are(name: str) -> None:
    card = shipped_weights("beats")[name]
    stated = card["hyperparameters"]
    model = ecg.create_model(stated["model"]["name"], pretrained=name).eval()
    n = {"length": stated["input"]["length"], "leads": len(stated["input"]["leads"])}
    context = torch.zeros(2, len(stated["input"]["context"])) if stated["input"]["context"] else None
    beats = torch.rand(2, n["leads"], n["length"]), torch.tensor([n["length"], 90]), context
    if "sequence" in stated["model"]:  # one of both beats
        logits = model(*(None if values is None else values[None] for values in beats))[0]
    else:
        logits = model(*beats)
    assert logits.shape[0] == 2 and torch.isfinite(logits).all()
    assert all(key in card for key in ("title", "trained_on", "command", "attribution", "licence", "sha256"))
    assert (card["expected"] or name == "simulated_rhythms") and card["attribution"]  # which is to start others from
    assert not any(
        isinstance(stated["about"]["config"].get(key), str) for key in ("data_dir", "cache_dir", "output_dir")
    )
    assert (FOLDER / f"{name}.safetensors").stat().st_size < 3_000_000


def test_another_number_of_outputs_is_a_new_head_on_the_same_backbone() -> None:
    own, other = (ecg.create_model("cnet", pretrained="cnet", n_outputs=n) for n in (None, 17))
    assert other.fc2.out_features == 17
    for name, weight in own.state_dict().items():
        assert own.is_head(name) or torch.equal(weight, other.state_dict()[name])


@pytest.mark.parametrize(
    ("network", "settings", "said"),
    [
        ("cnet", {"pretrained": "nothing"}, r"no weights 'nothing'; choose some of .*cnet"),
        ("seq", {"pretrained": "cnet"}, "the weights cnet are of a cnet, not of a seq"),
        ("cnet", {"pretrained": "cnet", "channels": 8}, "bring all sizes and settings"),
        ("cnet", {}, "needs n_outputs and length"),
    ],
)
def test_what_does_not_go_with_weights_is_one_sentence(network: str, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ecg.create_model(network, **settings)


def test_names_of_weights_match_patterns() -> None:
    assert "cnet" in ecg.list_pretrained("c*") and ecg.list_pretrained("no such*") == []


@pytest.mark.real_data("mitdb/RECORDS")
def test_a_lead_upside_down_has_the_same_beats_of_people_that_were_not_trained_on(
    real_data_dir: Path, tmp_path: Path
) -> None:
    words = ["dataset.records=['221','233']", "context=full", f"data_dir={real_data_dir}", f"cache_dir={tmp_path}"]
    beats = ecg.load_beats("mitbih", *words)
    predict = ecg.load_predictor("cnet_ds1")
    inside = np.arange(beats.length) < beats.lengths[:, None, None]
    either = [
        predict(signals, beats.lengths, beats.context)
        for signals in (beats.signals, np.where(inside, 1 - beats.signals, 0))
    ]
    assert all(ecg.score(beats.labels, p, beats.classes)["per_class"]["V"]["f1"] > 0.95 for p in either)
    assert (either[0].argmax(axis=1) == either[1].argmax(axis=1)).mean() > 0.97

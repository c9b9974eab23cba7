"""Several databases as one: nobody is two people, classes are matched by name, what does not fit is one sentence."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made import NO_CONTEXT, card

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.data.cache import cached_beats
from ecg_lightning.data.databases.base import Source
from ecg_lightning.data.databases.registry import make_source
from ecg_lightning.data.splits import split


def joined(*cards: dict[str, Any], data_dir: Path = Path(), **shared: Any) -> Source:
    own = {"cards": {one["name"]: one for one in cards}, "cut": cards[0]["cut"], "leads": None, "class_map": None}
    return make_source(own | shared, NO_CONTEXT, data_dir)


def simulation(name: str, seed: int, **changes: Any) -> dict[str, Any]:
    return card("synthetic", name=name, simulation={"patients": 3, "minutes": 0.5, "seed": seed}, **changes)


def of_records(name: str, record: str, **changes: Any) -> dict[str, Any]:
    """A card for one of the records of the made MIT-BIH."""
    return card("mitbih", **{"name": name, "records": [record], "patients": "record"} | changes)


def test_beats_follow_one_another_and_know_their_database() -> None:
    parts = [simulation("home", 1), simulation("away", 2)]
    beats, (home, away) = joined(*parts).read(), [make_source(one, NO_CONTEXT, Path()).read() for one in parts]
    assert beats.records is not None and beats.patients is not None and beats.databases is not None
    np.testing.assert_array_equal(beats.signals, np.concatenate([home.signals, away.signals]))
    np.testing.assert_array_equal(beats.known_labels, np.concatenate([home.known_labels, away.known_labels]))
    assert beats.databases.tolist() == ["home"] * len(home) + ["away"] * len(away)
    assert beats.records[0] == "home/mitbih-000" and beats.records[-1] == "away/mitbih-002"
    assert len(np.unique(beats.patients)) == 6, "people of equal names in two databases are other people"
    assert beats.synthetic and beats.origin["dataset"] == "home+away"
    assert [*beats.origin["databases"]] == ["home", "away"]


def test_each_part_has_its_place_in_the_cache(tmp_path: Path) -> None:
    source = joined(simulation("home", 1), simulation("away", 2))
    beats = cached_beats(source, tmp_path)
    assert beats.fingerprint == source.read().fingerprint
    assert {path.name.partition("-")[0] for path in tmp_path.glob("*.arrow")} == {"home+away", "home", "away"}
    assert cached_beats(joined(simulation("home", 1), simulation("away", 3)), tmp_path).fingerprint != beats.fingerprint


def test_people_of_another_database_are_the_same_people(mitdb: Path) -> None:
    """As in the Noise Stress Test Database, whose records are those of MIT-BIH with noise."""
    noisy = of_records("noisy", "202", patients={"record": "^(\\d+)", "database": "mitbih"})
    beats = joined(card("mitbih", patients="record"), noisy, data_dir=mitdb.parent).read()
    assert beats.patients is not None and beats.databases is not None
    assert set(beats.patients) == {"mitbih/201", "mitbih/202"}
    folds = split(beats, "databases", test=["noisy"], train=["mitbih"], shared_patients="both", validation_fraction=0.5)
    assert folds.protocol.n_shared_patients == 1
    assert "1 patients on both sides" in folds.protocol.sentence()


def test_nobody_is_on_two_sides_of_a_split_by_patient() -> None:
    beats = joined(simulation("home", 1), simulation("away", 2)).read()
    assert beats.patients is not None
    for seed in range(4):
        sides = [set(beats.patients[rows]) for rows in split(beats, "patient", seed=seed).named().values()]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 6


def test_where_people_of_one_are_unknown_there_is_no_split_by_patient(mitdb: Path) -> None:
    beats = joined(of_records("a", "201"), of_records("b", "202", patients=None), data_dir=mitdb.parent).read()
    assert beats.patients is None
    with pytest.raises(ConfigError, match="patients of these beats are not known"):
        split(beats, "patient")
    assert len(split(beats, "random").test) > 0


def test_classes_are_matched_by_name(mitdb: Path) -> None:
    maps = ({"normal": "N", "ectopic": "AV"}, {"ectopic": "VA", "paced": "/"})
    parts = [of_records("a", "201", class_map=maps[0]), of_records("b", "202", class_map=maps[1])]
    beats = joined(*parts, data_dir=mitdb.parent).read()
    assert beats.classes == ("normal", "ectopic", "paced") and beats.databases is not None
    alone = [make_source(part, NO_CONTEXT, mitdb.parent).read().counts() for part in parts]
    assert beats.counts() == {
        "normal": alone[0]["normal"],
        "ectopic": alone[0]["ectopic"] + alone[1]["ectopic"],
        "paced": alone[1]["paced"],
    }
    assert set(beats.origin["dropped"]) == {"a", "b"} and "N" in beats.origin["dropped"]["b"]["without class"]
    one_map = joined(*parts, data_dir=mitdb.parent, class_map="aami").read()
    assert one_map.classes == ("N", "S", "V", "F", "Q") and len(one_map) > len(beats)


def test_other_leads_in_one_of_them_are_one_sentence() -> None:
    parts = simulation("home", 1), simulation("away", 2, leads=["II", "V1"])
    with pytest.raises(ConfigError) as error:
        joined(*parts).read()
    assert "beats of away (leads II, V1, 187 samples, 125 Hz) cannot be joined with those of home" in str(error.value)
    assert "choose dataset.leads and dataset.cut for all of them" in str(error.value)
    assert joined(*parts, leads=["II"]).read().lead_names == ("II",)

"""The pages of the site that are made of the project leave nothing out. That no link is broken, `make docs` checks."""

import re
from functools import cache
from pathlib import Path

import generated_pages
import pytest
import yaml

import ecg_lightning as ecg
from ecg_lightning.core.weights import shipped_weights

ROOT = Path(__file__).parents[1]


@cache
def page(place: str) -> str:
    return generated_pages.pages()[place]


def test_every_command_is_described_with_all_its_options() -> None:
    sections = dict(
        re.findall(r"^## (ecg-lightning.*?) \{.*?\n(.*?)(?=^## |\Z)", page("reference/cli.md"), re.M | re.S)
    )
    for name, command in generated_pages.commands():
        options = [word for one in command.params if one.name != "help" for word in one.opts if word.startswith("--")]
        assert [word for word in options if f"`{word}`" not in sections[name]] == []
        assert len(sections[name].split()) > 3
    assert len(sections) > 20


@pytest.mark.parametrize("group", generated_pages.groups())
def test_every_choice_and_every_setting_of_a_group_is_described(group: str) -> None:
    text = page(f"reference/configuration/{group}.md")
    folder = ROOT / "conf" / group if (ROOT / "conf" / group).is_dir() else ROOT / "conf" / "hydra" / group
    choices = [file.stem for file in folder.glob("[!_]*.yaml")]
    assert [name for name in choices if f"={name}`" not in text] == []
    for choice in choices if group in ("model", "launcher", "sweeper") else [None]:
        settings = [] if group in generated_pages.RECIPES else generated_pages.settings_of(group, choice)
        assert [one.name for one in settings if not one.meaning] == []
        assert [one.name for one in settings if f"`{one.name}`" not in text] == []


def test_settings_of_no_group_are_described() -> None:
    own = [key for key in yaml.safe_load((ROOT / "conf" / "train.yaml").read_text()) if key != "defaults"]
    settings = {one.name: one for one in generated_pages.settings_of("")}
    assert {name.partition(".")[0] for name in settings} == set(own)
    assert [name for name, one in settings.items() if not one.meaning] == []


@pytest.mark.parametrize(
    ("name", "default", "accepts"),
    [
        ("split.validation_fraction", "0.1", "a number above 0 and below 1"),
        ("trainer.accumulate_grad_batches", "1", "a whole number of at least 1"),  # no file of YAML has it
        ("trainer.precision", "32-true", "text of 1 to 1000 characters or 16 or 32 or 64"),
        ("augmentation.balance", "0.5", "a number from 0 to 10"),  # of light, the default
        ("dataset.csv.fs", "null", "a number from 1 to 100000 or null"),
        ("callbacks.early_stopping.patience", "15", "a whole number of at least 0"),
    ],
)
def test_a_setting_has_its_default_and_its_range(name: str, default: str, accepts: str) -> None:
    (found,) = (one for one in generated_pages.settings_of(name.partition(".")[0]) if one.name == name)
    assert (found.default, found.accepts) == (default, accepts)


@pytest.mark.parametrize("name", shipped_weights())
def test_all_weights_that_ship_have_a_card_with_licence_command_and_attribution(name: str) -> None:
    card, text = shipped_weights()[name], page(f"models/{name}.md")
    assert all(one.rpartition("http")[0] in text for one in card["attribution"])
    assert all(command in text for command in card["command"].split("; "))
    assert card["licence"] in text


@pytest.mark.parametrize("name", [name for name in generated_pages.load_cards()])
def test_every_database_has_a_card_with_its_licence_and_citation(name: str) -> None:
    card, text = generated_pages.load_cards()[name], page(f"databases/{name}.md")
    assert (card.about.licence or "") in text
    assert (card.about.citation or "") in text
    assert f"dataset={name}" in text


def test_every_public_name_of_the_package_is_on_a_page() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "docs" / "reference" / "api").glob("*.md"))
    named = set(re.findall(r"^::: ecg_lightning\.(\w+)$", text, re.M))
    assert set(ecg.__all__) - named == {"__version__"}
    assert "ecg_lightning.__version__" in text

"""The pages of the site that are made of the project leave nothing out. That no link is broken, `make docs` checks."""

import re
from collections.abc import Mapping
from pathlib import Path

import generated_pages
import pytest
import settings_reference
import yaml

import ecg_lightning as ecg
from ecg_lightning.core.weights import shipped_weights

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    return generated_pages.pages()


def test_every_command_is_described_with_all_its_options(pages: Mapping[str, str]) -> None:
    text = pages["reference/cli.md"]
    sections = dict(re.findall(r"^## (ecg-lightning.*?) \{.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    commands = dict(generated_pages.commands())
    assert sections.keys() == commands.keys()
    for name, command in commands.items():
        options = [word for one in command.params if one.name != "help" for word in one.opts if word.startswith("--")]
        assert command.help
        assert [word for word in options if f"`{word}`" not in sections[name]] == []


@pytest.mark.parametrize("group", settings_reference.groups())
def test_every_choice_and_every_setting_of_a_group_is_described(group: str, pages: Mapping[str, str]) -> None:
    text = pages[f"reference/configuration/{group}.md"]
    choices = settings_reference.choices(group)
    assert choices
    assert [name for name in choices if f"={name}`" not in text] == []
    for choice in choices if group in generated_pages.BY_CHOICE else [None]:
        settings = [] if group in generated_pages.RECIPES else settings_reference.settings_of(group, choice)
        assert [one.name for one in settings if not one.meaning or f"`{one.name}`" not in text] == []


def test_every_setting_in_no_group_is_described() -> None:
    own = yaml.safe_load((ROOT / "conf" / "train.yaml").read_text()).keys() - {"defaults"}
    settings = settings_reference.settings_of("")
    assert {one.name.partition(".")[0] for one in settings} == own
    assert [one.name for one in settings if not one.meaning] == []


@pytest.mark.parametrize(
    ("name", "default", "accepts"),
    [
        ("split.validation_fraction", "0.1", "a number above 0 and below 1"),
        ("trainer.accumulate_grad_batches", "1", "a whole number of at least 1"),  # which no file sets
        ("augmentation.balance", "0.5", "a number from 0 to 10"),  # of the default choice, which builds on another
        ("dataset.csv.fs", "null", "a number from 1 to 100000 or null"),
        ("callbacks.early_stopping.patience", "15", "a whole number of at least 0"),
    ],
)
def test_a_setting_has_its_default_and_its_range(name: str, default: str, accepts: str) -> None:
    (found,) = (one for one in settings_reference.settings_of(name.partition(".")[0]) if one.name == name)
    assert (found.default, found.accepts) == (default, accepts)


def test_all_weights_that_ship_have_a_card_with_command_licence_and_attribution(pages: Mapping[str, str]) -> None:
    for name, card in shipped_weights().items():
        text = pages[f"models/{name}.md"].replace("<", "").replace(">", "")
        assert [
            one for one in (*card["command"].split("; "), card["licence"], *card["attribution"]) if one not in text
        ] == []


def test_every_database_has_a_card_with_its_licence_and_citation(pages: Mapping[str, str]) -> None:
    for name, card in generated_pages.cards().items():
        text = pages[f"databases/{name}.md"]
        assert [one for one in (card.about.licence, card.about.citation) if one and one not in text] == []
        assert f"dataset={name}" in text


def test_every_public_name_of_the_package_is_in_the_reference() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "docs" / "reference" / "api").glob("*.md"))
    assert set(ecg.__all__) - set(re.findall(r"^::: ecg_lightning\.(\w+)$", text, re.MULTILINE)) == {"__version__"}
    assert "ecg_lightning.__version__" in text

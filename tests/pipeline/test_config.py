"""Composing configurations: from anywhere, with any path, with a user's own choices; and what the choices are."""

import itertools
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from ecg_lightning.core.errors import ConfigError
from ecg_lightning.core.provenance import config_digest
from ecg_lightning.models import model_names
from ecg_lightning.pipeline.cards import load_cards
from ecg_lightning.pipeline.config import choices, command_again, compose, conf_dir, override
from ecg_lightning.pipeline.settings import validated
from ecg_lightning.runs.published import published_row
from ecg_lightning.training.tasks import CLASSES

ODD_PATHS = [
    "a=b, ü(1)",
    "it's",
    '"q"',
    "[x]{y}",
    "back\\slash",
    "$HOME ${x}",
    "#1",
    "ends\\",
    "\\'",
    "null",
    "*?",
    "~",
]


def test_a_notebook_composes_from_any_folder_twice_and_after_hydra_was_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        first, second = compose(["model=seq"]), compose(["task=mi"])
    assert (first.model.name, second.model.name, second.dataset.name) == ("seq", "cnet", "ptbdb")
    assert Path(first.output_dir).is_relative_to(tmp_path / "outputs")
    assert first.output_dir.endswith("_arrhythmia_seq")


@pytest.mark.parametrize("name", ODD_PATHS)
def test_any_path_can_be_the_folder_of_a_run(name: str, tmp_path: Path) -> None:
    cfg = compose(output_dir=tmp_path / name)
    assert cfg.output_dir == str(tmp_path / name)
    assert OmegaConf.to_container(cfg.callbacks.best, resolve=True)["dirpath"] == f"{tmp_path / name}/checkpoints"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30) | st.sampled_from(ODD_PATHS))
def test_a_printed_override_is_parsed_to_the_same_value(value: str) -> None:
    (word,) = shlex.split(shlex.join([override("hydra.run.dir", value)]))
    read = OverridesParser.create().parse_override(word).value()
    assert OmegaConf.create({"dir": read}).dir == value


def test_the_command_to_resume_replaces_what_it_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/ecg-lightning", "train", "model=seq", "hydra.run.dir=old", "++seed=1"]
    )
    words = shlex.split(command_again({"hydra.run.dir": "/a b/c=d", "ckpt_path": "/last.ckpt"}))
    assert words == [
        "ecg-lightning",
        "train",
        "model=seq",
        "++seed=1",
        "hydra.run.dir='/a b/c=d'",
        "ckpt_path=/last.ckpt",
    ]


def test_choices_of_the_user_are_listed_and_composed(tmp_path: Path) -> None:
    own = tmp_path / "conf" / "model" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("name: mine\nwidth: 3\n")
    (own.parent / "_base.yaml").write_text("{}")
    assert {"mine", "cnet"} < set(choices([conf_dir(), tmp_path / "conf"])["model"])
    assert "_base" not in choices([tmp_path / "conf"])["model"]
    cfg = compose(["model=mine"], config_dir=tmp_path / "conf")
    assert cfg.model == {"name": "mine", "width": 3}
    # No recipe is known for it.
    assert (cfg.optimizer.lr, cfg.optimizer.batch_size, cfg.optimizer.steps) == (0.003, 128, 24600)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["optimizer.learning_rate=1"], ["optimizer.learning_rate", "weight_decay", "warmup"]),
        (["model=resnet"], ["model/resnet", *model_names()]),
        (["optimizer.lr=1=2"], ["'='"]),
    ],
)
def test_a_wrong_override_is_one_sentence_that_names_the_valid_ones(overrides: list[str], named: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        compose(overrides)
    assert all(name in str(error.value) for name in named)
    assert "\n" not in str(error.value)


def test_a_missing_folder_of_choices_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        compose(config_dir=tmp_path / "nowhere")


GROUPS = choices([conf_dir()])


@pytest.mark.parametrize("at", range(max(map(len, GROUPS.values()))))
def test_every_choice_composes_and_its_settings_are_valid(at: int) -> None:
    # One of each group at once, because composing takes a tenth of a second.
    chosen = [f"{group}={names[at % len(names)]}" for group, names in GROUPS.items()]
    own = ["split.test=[svdb]"] * ("split=held_out" in chosen)
    validated(compose([*chosen, *own, "transfer.checkpoint=run"], output_dir="run"))


RECIPES = {
    ("arrhythmia", "cnet"): (0.004, 128, 24600),
    ("arrhythmia", "seq"): (0.003, 128, 12300),
    ("arrhythmia", "bilstm"): (0.003, 128, 12300),
    ("arrhythmia", "bigru"): (0.003, 128, 12300),
    ("mi", "cnet"): (0.004, 64, 1700),
    ("mi", "seq"): (0.003, 64, 1700),
    ("mi", "bilstm"): (0.003, 64, 1700),
    ("mi", "bigru"): (0.003, 64, 1700),
}


def recipe(*overrides: str) -> tuple[float, int, int]:
    optimizer = compose(overrides).optimizer
    return optimizer.lr, optimizer.batch_size, optimizer.steps


@pytest.mark.parametrize(("task", "model"), list(RECIPES))
def test_each_network_has_its_recipe_on_each_task(task: str, model: str) -> None:
    assert recipe(f"task={task}", f"model={model}") == RECIPES[task, model]


def test_overrides_have_priority_over_the_recipe_which_is_optional() -> None:
    assert recipe("task=mi", "optimizer.lr=0.1", "optimizer.steps=7") == (0.1, 64, 7)
    assert recipe("task=mi", "recipe=none") == (0.003, 128, 24600)


def test_the_experiments_cover_the_published_rows() -> None:
    rows = set()
    for name, pretrained in (("published", False), ("published_transfer", True)):
        sweep = yaml.safe_load((conf_dir() / "experiment" / f"{name}.yaml").read_text())["hydra"]["sweeper"]["params"]
        fixed = compose([f"experiment={name}"])
        swept = itertools.product(sweep.get("task", fixed.task.name).split(","), sweep["model"].split(","))
        rows |= {(task, model, pretrained) for task, model in swept}
        assert sweep["augmentation"].split(",") == ["light", "smote_tomek"]
        assert fixed.transfer.mode == ("head_only" if pretrained else "none")
    published = {
        (task, model, pretrained)
        for task in CLASSES
        for model in ("cnet", "seq", "bilstm", "bigru")
        for pretrained in (False, True)
        if published_row(task, model, "smote_tomek", pretrained)
    }
    assert len(rows) == 9 and rows == published


def digest(*overrides: str, output_dir: str = "out") -> str:
    return config_digest(compose(overrides, output_dir=output_dir))


def test_settings_without_effect_on_metrics_do_not_make_another_job() -> None:
    assert digest(output_dir="elsewhere") == digest()
    for same in ("data_dir=/elsewhere", "cache_dir=/elsewhere", "logger=none", "callbacks.progress=null", "model=cnet"):
        assert digest(same) == digest()
    others = ("seed=1", "model=seq", "optimizer.lr=0.1", "trainer.max_epochs=3", "ckpt_path=last.ckpt", "split.fold=0")
    assert len({digest(), *map(digest, others)}) == 1 + len(others)


def test_context_is_a_node_of_its_own_and_does_not_change_the_window() -> None:
    without: Any = compose()
    assert not any(without.context.values())
    assert compose(["context=full"]).dataset == without.dataset


def test_a_card_that_is_no_yaml_is_one_sentence_with_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text("defaults: [_database, _self_]\ntitle: Mine: the second\n")
    for read in (lambda: compose(["dataset=mine"], config_dir=tmp_path), lambda: load_cards(tmp_path)):
        with pytest.raises(ConfigError, match=r"mine\.yaml., line 2"):
            read()


def test_an_unknown_database_among_several_is_named() -> None:
    with pytest.raises(ConfigError, match="dataset/svbd"):
        compose(["dataset=[mitbih,svbd]"])

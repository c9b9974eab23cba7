"""Settings and options that are out of type or range, unknown, absent or contradictory.

A setting takes odd values of every type. Which of them are right is stated here once more, in `RIGHT`, and not taken
from the program. All others have to be refused by a sentence that names the setting, before any beats are read.
"""

import re
import shlex
import tempfile
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from campaigns.frame import Case, Ended, run

LONG = "x" * 5000
# By type, as Hydra's command line writes them.
ODD = [
    "-1", "0", "1", "2", "1.5", "0.5", "1e-9", "1e308", "-1e308", "1099511627776", "nan", "inf", "-inf", "null",
    "true", "abc", "''", "'a/b=c, ü'", "'♥\x1b[31m'", "../x", LONG, "[]", "[1]", "[abc]", "[[],{}]", "{}", "{a: 1}",
    "{_target_: os.getcwd}",
]  # fmt: skip

WHOLE, NATURAL, POSITIVE, SHARE = "1 2", "0 1 2", "1 2 1.5 0.5 1e-9", "0 0.5 1e-9"
AMOUNT, SWITCH = f"0 {POSITIVE}", "true"
PATH = "abc ../x 'a/b=c,ü'"
TEXT = f"null {PATH}"
ESCAPE = "'♥\x1b[31m'"  # which only what is shown may contain
# Odd values that are right, by the first pattern that fits a setting; of any other setting none is.
RIGHT = {
    "seed": NATURAL, "*.seed": NATURAL, "ckpt_path": "null", "output_dir": PATH, "data_dir": PATH, "cache_dir": PATH,
    "dropout": f"null {SHARE}", "compile": SWITCH, "test_on": "[]", "operating_point.folds": "null 2",
    "operating_point.specificity": "null 0.5 1e-9", "dataset.name": "abc", "augmentation.name": "abc",
    "loss.name": "abc", "split.name": "null abc", "dataset.title": PATH, "task.fill_up_to": f"null {WHOLE} 0.5 1e-9",
    "context.before": AMOUNT, "context.*": SWITCH, "sequence.beats": "null 2", "sequence.width": WHOLE,
    "sequence.dilations": "[1]", "*.dropout": SHARE, "split.fold": f"null {NATURAL}", "split.n_folds": "2",
    "split.test_fraction": SHARE, "split.validation_fraction": "0.5 1e-9",
    "split.train_size": f"null {WHOLE} 0.5 1e-9", "split.left_out": "null {}", "split.left_out.*": "[]",
    "model.embedding": NATURAL, "model.max_leaf_nodes": "null 2", "model.max_features": "1 0.5 1e-9",
    "model.learning_rate": POSITIVE, "model.C": POSITIVE, "model.l2_regularization": AMOUNT, "model.*": WHOLE,
    "augmentation.balance_classes": "null []", "augmentation.transforms": "{}",
    "augmentation.transforms.time_stretch.spread": SHARE, "augmentation.transforms.powerline.frequency": POSITIVE,
    "augmentation.transforms.*.*": AMOUNT, "augmentation.transforms.*": "null",
    "augmentation.resampling.counts": f"null {WHOLE} 0.5 1e-9 {{}}", "augmentation.resampling.neighbours": WHOLE,
    "augmentation.resampling.length_weight": AMOUNT, "augmentation.resampling": "", "augmentation.*": AMOUNT,
    "loss.label_smoothing": SHARE, "loss.*": AMOUNT, "transfer.checkpoint": TEXT, "transfer.frozen_epochs": NATURAL,
    "transfer.*_lr": POSITIVE, "recipe.*.lr": POSITIVE, "recipe.*.steps": WHOLE, "recipe.*.batch_size": WHOLE,
    "recipe*": "{}", "optimizer.lr": POSITIVE, "optimizer.weight_decay": AMOUNT, "optimizer.warmup": SHARE,
    "optimizer.*": WHOLE, "trainer.devices": "1 2 -1", "trainer.max_epochs": f"null {WHOLE}",
    "trainer.max_steps": f"-1 {WHOLE}", "trainer.val_check_interval": f"null {WHOLE} 0.5 1e-9",
    "trainer.enable_progress_bar": SWITCH, "trainer.gradient_clip_val": f"null {AMOUNT}",
    "trainer.log_every_n_steps": NATURAL, "trainer.check_val_every_n_epoch": f"null {WHOLE}",
    "trainer.deterministic": SWITCH, "trainer.num_sanity_val_steps": f"-1 {NATURAL}",
    "trainer.limit_*": f"null 0.5 {WHOLE}", "callbacks": "null {}", "callbacks.*._target_": "",
    "callbacks.*.decay": SHARE, "callbacks.*.patience": NATURAL, "callbacks.*.enable_version_counter": SWITCH,
    "callbacks.*.save_on_train_epoch_end": f"null {SWITCH}", "callbacks.*.monitor": "null",
    "callbacks.*.path": PATH, "callbacks.*.filename": "null", "callbacks.*.*": "",
    "callbacks.*": "null", "logger": "null {}", "logger.csv.path": PATH, "logger.csv.resumed_from": TEXT,
    "logger.*": "null", "dataset.about.published*": f"null {{}} {NATURAL}",
    "dataset.about.*": f"null {PATH} '' {LONG} {ESCAPE}",
    "dataset.download*": f"{{}} [] [abc] {TEXT}", "dataset.cut.length": "2", "dataset.cut.fs": "1 2 1.5",
    "dataset.cut.margin": NATURAL, "dataset.cut.rr_factor": POSITIVE, "dataset.recorded_fs": "null 1 2 1.5",
    "dataset.drop_duplicates": SWITCH, "dataset.separate_leads": f"null {SWITCH}",
    "dataset.own": "{} {a:1} {_target_:os.getcwd}", "dataset.patients.same": "null {} {a:1} {_target_:os.getcwd}",
    "dataset.cards.*.leads": "[1]", "dataset.csv": "null {}", "dataset.csv.*": "null", "dataset.folds": "null",
    "dataset.folder": TEXT, "dataset.records": f"{TEXT} [abc]", "dataset.patients": "null",
    "dataset.patients.same.*": "0 1 2 abc", "dataset.simulation.patients": "2",
    "dataset.simulation.minutes": POSITIVE, "dataset.simulation.fs": "1 2 1.5", "dataset.simulation.noise": AMOUNT,
    "dataset.people.*": "2", "dataset.people": "null", "dataset.rows": "null", "dataset.annotator": "null abc",
    "dataset.class_map": "null", "dataset.diagnoses": "null", "dataset.simulation": "",
    "dataset.leads": "[1] [abc]",  # a simulation has leads of any name
}  # fmt: skip
# Only the beats can show that these are wrong.
SEEN_LATER = ("dataset.leads", "*.class_map", "*.patients*", "*.folds*", "*.diagnoses*", "*.records", "*.rows.*",
              "augmentation.balance_classes", "augmentation.resampling.counts*", "split.train", "split.test",
              "split.left_out*", "dataset.annotator", "dataset.folder", "dataset.cards*")  # fmt: skip

TINY = ["experiment=demo", "trainer.max_epochs=1", "optimizer.steps=20", "report=none", "cache_dir=cache",
        "hydra.run.dir=run"]  # fmt: skip
SMALL = ["dataset.simulation.patients=6", "dataset.simulation.minutes=1"]
RUNNING = [shlex.split(words) for words in (
    "",
    "model=bilstm augmentation=strong context=full",
    "model=gradient_boosting model.max_iter=3 context=rr",
    "model=logistic_regression model.max_iter=5",
    "augmentation=random_over loss=class_weights",
    "task=mi loss=focal augmentation=mixup",
    "model=bigru sequence=beats context=rr_distance split=patient augmentation=none",
    "transfer=finetune transfer.checkpoint=cnet",
    "model=seq optimizer.schedule=constant augmentation=balanced",
    "debug=limit augmentation=smote",
)]  # fmt: skip
ABSENT = [[*shlex.split(words), "data_dir=nowhere", "trainer=cpu"] for words in (  # databases that are not there
    "dataset=mitbih split=ds1_ds2",
    "dataset=ptbxl split=folds",
    "dataset=kaggle_mitbih",
    "dataset=[mitbih,svdb] split=held_out split.test=[svdb]",
    "dataset=incartdb split=patient",
    "dataset=ptbdb",
    "dataset=icentia11k",
)]  # fmt: skip

# What does not fit together. Those after the empty line are seen in the beats only.
CONTRADICTIONS = """
transfer=finetune
transfer=head_only
transfer=rhythm
transfer=finetune transfer.checkpoint=nowhere
transfer=finetune transfer.checkpoint=..
transfer=head_only transfer.checkpoint=cnet transfer.backbone_lr=2
transfer=finetune transfer.checkpoint=cnet transfer.head_lr=2
transfer=finetune transfer.checkpoint=cnet model=gradient_boosting
ckpt_path=nowhere
ckpt_path=nowhere model=gradient_boosting
sequence=beats model=gradient_boosting
sequence=beats model=beat_length
sequence=beats augmentation=mixup
sequence=beats augmentation=smote
compile=true model=majority
monitor=val/loss
monitor=val/loss mode=max
mode=min
callbacks.best.mode=min
callbacks.early_stopping.monitor=val/loss
split=patient split.fold=7
split=random split.fold=5 split.n_folds=5
split=ds1_ds2 split.fold=0
split=ds1_ds2 split.test=null
split=ds1_ds2 split.test=[101]
split=held_out
split=random +split.train=[100]
split=random +split.shared_patients=test
model=cnet +model.frame_length=17
model=seq +model.kernel=5
model=majority +model.C=1
model=logistic_regression +model.max_leaf_nodes=7
task=mi dataset=synthetic
task=arrhythmia dataset=synthetic_mi
dataset=mitbih task=mi
trainer.accelerator=tpu
trainer.accelerator=gpu trainer.precision=abc
trainer.accelerator=abc
trainer.devices=1000
trainer.devices=[0,1]
trainer.precision=8
+trainer.strategy=abc
+trainer.limit_train_batches=0
+trainer.limit_train_batches=1e-9
+trainer.max_time=abc
+trainer.gradient_clip_algorithm=abc
+trainer.no_such_argument=1
+trainer.plugins=[1]
+trainer.num_nodes=1000000
trainer._target_=os.getcwd
trainer._target_=pytorch_lightning.NoTrainer
+callbacks.mine={_target_: no.such.module.Class}
+callbacks.mine={_target_: os.getcwd}
+callbacks.mine={_target_: pytorch_lightning.callbacks.Timer, duration: abc}
+callbacks.mine.x=3
+logger.mine={_target_: os.getcwd}
+callbacks.mine={_target_: pytorch_lightning.callbacks.ModelCheckpoint, monitor: nosuch}
+callbacks.mine={_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: nosuch}
augmentation.transforms.noise=null augmentation.transforms.nois={sigma: 1}
+augmentation.transforms.nois={sigma: 1}
+augmentation.transforms.noise.sigm=1
augmentation=strong augmentation.transforms.powerline.frequency=100
augmentation=strong augmentation.transforms.baseline_wander.low=3
dataset.reader=abc
dataset.reader=rows
dataset.reader=people
dataset.reader=wfdb
dataset.simulation=null
dataset._no_such=1
tested=cross_validation
tested=cross_validation operating_point.folds=2
tested=cross_validation operating_point.folds=2 split=random
operating_point.folds=2 split=random
test_on=[abc]
data_dir=nowhere test_on=[svdb]
test_on=['svdb:abc']
test_on=[synthetic_mi]
test_on=[svdb,svdb]
model=nosuch
model={name: nosuch}
dataset=[mitbih,ptbdb]
dataset=[mitbih,mitbih]
dataset=[]
dataset=[mitbih,nosuch]
--config-dir nowhere
--config-name nosuch
--config-path nowhere
-m hydra/launcher=local hydra.launcher.n_jobs=0
-m hydra/sweeper=optuna_tpe hydra.sweeper.n_trials=0
-m search=training hydra.sweeper.direction=abc
hydra.run.dir=/proc/nowhere
hydra.run.dir=''
hydra.sweep.dir='' -m seed=0
hydra.mode=MULTIRUN hydra.sweep.subdir=null
hydra.job.chdir=abc
hydra.verbose=[nosuch
hydra.callbacks.mine={_target_: no.such.Class}
+hydra.callbacks.mine={_target_: no.such.Class}
+hydra.callbacks.mine=3
hydra.job_logging=abc
hydra/job_logging=abc
hydra.output_subdir=[]
hydra.sweeper.params=abc -m
hydra.sweeper.params={a: 1} -m seed=0
hydra.sweeper.max_batch_size=-1 -m seed=0
hydra.sweeper=3 -m seed=0
hydra.sweeper._target_=abc -m seed=0
hydra.launcher._target_=os.getcwd -m seed=0

split=patient split.n_folds=40 split.fold=0
split=ds1_ds2
split=folds
split=held_out split.test=[svdb]
split=svdb_halves
augmentation.balance_classes=[X]
augmentation.balance_databases=1
augmentation=smote augmentation.balance_patients=1
augmentation=smote augmentation.resampling.counts={X: 9}
augmentation=random_under augmentation.resampling.counts={N: 1000000000}
split.train_size=1000000
model=seq model.frame_length=16
model=cnet model.blocks=16
model=cnet model.kernel=4
dataset.cut.length=20
model=gradient_boosting model.inputs=context
sequence=beats split=random
split=patient split.train_size=100 split.train_unit=patients
tested=test split=patient split.test_fraction=0
transfer=finetune transfer.checkpoint=cnet model=seq
-m seed=0,-1
transfer=rhythm transfer.checkpoint=cnet
transfer=finetune transfer.checkpoint=cnet model.channels=16
transfer=finetune transfer.checkpoint=cnet transfer.leads=repeated context=full model=bigru
""".strip("\n").splitlines()

GRAMMAR = [
    "seed=[", "seed={", "seed=${", "seed=${seed}", "seed=${nosuch}", "seed=${oc.env:NOPE}", "seed=${oc.env:}",
    "seed=${hydra:nosuch}", "seed=${split.seed}", "seed=${nosuch:1}", "seed=???", "seed='", "seed=\"", "seed==1",
    "=1", "seed", "seed:1", "++", "~", "~nosuch", "+seed=1", "++seed=-1", "~seed", "~seed=5", "~model", "~dataset",
    "~trainer", "~dataset.cut", "~split.protocol", "~model.name", "~callbacks.best._target_", "seed=1,2",
    "model=cnet,seq", "model=[cnet,seq]", "model=null", "model=", "model=../model/cnet", "model=cnet.yml",
    "model@optimizer=cnet", "+model@seed=cnet", "dataset@=mitbih", "+experiment=nosuch", "experiment=[demo,nosuch]",
    "+seed.x=1", "optimizer.lr.x=1", "optimizer=3", "optimizer=[]", "optimizer={lr: 1}", "split=abc", "trainer={}",
    "trainer=cpu trainer.devices={}", "callbacks.best=3", "hydra/launcher=nosuch", "hydra/sweeper=nosuch",
    "seed=range(1,3)", "seed=choice(1,2)", "seed=interval(0,1)", "seed=glob(*)", "optimizer.lr=1e",
    "optimizer.lr=0x1", "optimizer.lr=1_", "optimizer.lr=int(abc)", "optimizer.lr=float([])", "seed=\x00", "s\ne=1",
    "seed=1\nseed=2", "ü=1", "dataset.cards.x.y=1", "+dataset.cards={a: {}}", "+dataset@dataset.cards.x=nosuch",
    "debug=nosuch", "recipe.mi.cnet=3", "recipe=[]", "recipe.mi=3", "+recipe.mi.cnet.epochs=1",
    "+optimizer.momentum=1", "--no-such", "--cfg nosuch", "--info nosuch",
    "--multirun --run seed=", "data_dir=${oc.env:NOPE}", "output_dir=${oc.env:NOPE}", "hydra.run.dir=${nosuch}",
    "hydra.run.dir=${oc.env:NOPE}", "hydra.sweep.subdir=${nosuch} -m seed=0", "hydra.job.name=${nosuch}",
    "hydra.run.dir=${now:}", "dataset.title=${", "dataset.title=${dataset.title}",
    "dataset.name=${dataset.title} dataset.title=${dataset.name}",
]  # fmt: skip

MADE = {"folder": ".", "run": "run", "other": "other", "csv": "ecg.csv", "beats": "beats.csv"}  # and {file}, a text
COMMANDS = """
evaluate {run} --on ''
evaluate {run} --on nosuch
evaluate {run} --on svdb,,
evaluate {run} --on synthetic --csv {beats}
evaluate {run} --csv nowhere.csv
evaluate {run} --csv {file}
evaluate {run} --csv {beats} --seed 1
evaluate {run} --split nosuch
evaluate {run} --split ''
evaluate {run} --split ds1_ds2
evaluate {run} --seed -1
evaluate {run} --seed 1099511627776
evaluate {run} --seed 1.5
evaluate {run} --fold x
evaluate {run} --leads abc
evaluate {run} --leads [9]
evaluate {run} --on synthetic --leads [9]
evaluate {run} --on synthetic --leads []
evaluate {run} --on synthetic --leads {{}}
evaluate {run} --on synthetic --leads [null]
evaluate {run} --on synthetic --leads [[]]
evaluate {run} --on synthetic --leads [1.5]
evaluate {run} --on synthetic --seed 3
evaluate {run} --on synthetic:nosuch
evaluate {run} --on synthetic_mi
evaluate {run} --peaks x
evaluate {run} --peaks detect --detector nosuch
evaluate {run} --peaks detect --detector network:nosuch
evaluate {run} --device tpu
evaluate {run} --operating-point
evaluate {run} --config-dir nowhere --on svdb
evaluate {run} --data-dir nowhere --on svdb
evaluate {run} --output {file}
evaluate nowhere
evaluate ''
ensemble {run} {other} -o out --weights 1,2,3
ensemble {run} {other} -o out --weights 1
ensemble {run} {other} -o out --weights 1,abc
ensemble {run} {other} -o out --weights -1,2
ensemble {run} {other} -o out --weights 0,0
ensemble {run} {other} -o out --weights nan,1
ensemble {run} {other} -o out --weights inf,1
ensemble {run} {other} -o out --weights ''
ensemble {run} {other} -o out --mean x
ensemble {run} {other} -o {file}
ensemble {run} -o out
ensemble {run} nowhere -o out
ensemble {run} {other} -o {run}
annotate {csv} --format xyz
annotate {csv} --format ''
annotate {csv} --format csv,,
annotate {csv} --part 11/10
annotate {csv} --part 0/3
annotate {csv} --part -1/3
annotate {csv} --part a/b
annotate {csv} --part 1/0
annotate {csv} --part 3
annotate {csv} --jobs 0
annotate {csv} --jobs -1
annotate {csv} --jobs abc
annotate {csv} --abstain 2
annotate {csv} --abstain -1
annotate {csv} --abstain nan
annotate {csv} --fs 0
annotate {csv} --fs nan
annotate {csv} --fs inf
annotate {csv} --fs 1e308
annotate {csv} --fs -5
annotate {csv} --unit stone
annotate {csv} --unit ''
annotate {csv} --detector nosuch
annotate {csv} --detector network:nosuch
annotate {csv} --detector ''
annotate {csv} --leads [99]
annotate {csv} --leads []
annotate {csv} --leads [null]
annotate {csv} --leads [1.5]
annotate {csv} --leads [[]]
annotate {csv} --leads '["nosuch"]'
annotate {csv} --annotator ''
annotate {csv} --annotator a/b
annotate {csv} --model nosuch
annotate {csv} --model ''
annotate {csv} --peaks nosuch
annotate {csv} --peaks ''
annotate {csv} --peaks ../x
annotate {csv} --peaks atr --detector xqrs
annotate {csv} --output {file}
annotate nowhere
annotate ''
annotate {csv} {csv}
annotate {csv} --operating-point --model {run}
compare-annotations {csv} nosuch
compare-annotations nowhere nowhere
compare-annotations mitbih atr --data-dir nowhere
compare-annotations {csv} {csv} --from x
compare-annotations {csv} {csv} --window 2
compare-annotations {csv} {csv} --window nan
compare-annotations {csv} {csv} --class-map nosuch
compare-annotations {csv} {csv} --fs 0
compare-annotations {csv} {csv} --fs nan
compare-annotations {csv} {csv} --output x.pdf
table {run} --format xyz
table {run} --output x.xyz
table {run} --format csv --output x.md
table {run} --output {file}/x.md
table nowhere
table
compare {run} nowhere
compare {run}
report nowhere
report {run} -o {file}/x.html
report {run} --baseline nowhere
report {run} {other} --baseline {run}
plot {run} --what nosuch
plot {run} --what low-data
plot {run} -o {file}/x
show augmentation=nosuch
show nosuch=1
show --beats 0
show --beats 9
show --beats abc
show experiment=demo dataset.simulation.minutes=0 --output x.png
export {run} -o x.pdf
export {run} -o {file}/x.onnx
export {run} -o x.onnx --quantize int4
export nosuch -o x.onnx
export {other} -o x.onnx
inspect nowhere
inspect {run} nowhere
inspect {file}
inspect {csv}
detector train -o x --steps 1
detector train -o x --seed -1
detector train -o x --seed 1099511627776
detector train -o x --seed abc
detector train -o x --leads abc
detector train -o x --leads []
detector train -o x --on nosuch
detector train -o x --on ''
detector train -o x --on mitbih --data-dir nowhere
detector train -o {file}/x --on synthetic
detector test --detector nosuch
detector test --detector network:nosuch
detector test --change nosuch
detector test --change 'gain nan'
detector test --change 'hum -5 Hz'
detector test --change '0 Hz'
detector test --change '1e308 Hz'
detector test --on mitbih --records nosuch
detector test --on mitbih --records ds1_ds2:nosuch
detector test --on mitbih --records ds1_ds2:train,100
detector test --on mitbih --leads [9]
detector test --on synthetic --keep nosuch
weights make {run} --name ../x --title x --output out
weights make {run} --name '' --title x --output out
weights make {run} --name x --title '' --output out
weights make {run} --name x --title x --output {file}
weights make nowhere --name x --title x --output out
weights make {other} --name x --title x --output out
weights make {run} --name x --title x --expected nowhere --output out
data fetch nosuch
data fetch ''
data fetch mitbih --connections 0
data fetch mitbih --connections 17
data fetch mitbih --url nosuch
data fetch mitbih --url ftp://nowhere
data fetch mitbih --url http://127.0.0.1:1/
data fetch mitbih --url ''
data fetch synthetic
data check nosuch
data check ''
data check mitbih --data-dir nowhere
data check --config-dir nowhere
data new nowhere
data new .
data new {file}
data new {folder} --name 'A B'
data new {folder} --name ''
data new {folder} --name mitbih
data new {folder} --name x --output {file}
data report nosuch
data report ''
data report mitbih data_dir=nowhere
data report synthetic nosuch=1
data report synthetic dataset.cut.fs=nan
data report synthetic dataset.simulation.minutes=1 -o {file}/x.html
data list --config-dir nowhere
nosuch
train --no-such
--no-such
data nosuch
""".strip().splitlines()
OWN_HYDRA = "a setting of Hydra on which no result depends"
DEFAULT = "a setting that is left out has its default"
IN_RANGE = "the value is within the setting's range"
FINE = {"data fetch synthetic": "a simulated database has nothing to download"}


def campaign(folder: Path, random: Random) -> Case:
    kinds = {odd_value: 12, two_faults: 2, deleted: 2, added: 2, hydra: 3, contradiction: 6, grammar: 4, option: 6}
    return random.choices([*kinds], [*kinds.values()])[0](folder, random)


def odd_value(folder: Path, random: Random) -> Case:
    base = _base(random)
    name, value = random.choice(_settings(*base)), random.choice(ODD)
    because = IN_RANGE * _is_right(name, value, _groups(*base))
    return _train(folder, random, "odd value", base, [f"{name}={value}"], because=because)


def two_faults(folder: Path, random: Random) -> Case:
    base = _base(random)
    names, values = random.sample(_settings(*base), 2), random.choices(ODD, k=2)
    pairs = [*zip(names, values, strict=True)]
    right = all(_is_right(*pair, _groups(*base)) for pair in pairs)
    return _train(folder, random, "two odd values", base, [f"{n}={v}" for n, v in pairs], because=IN_RANGE * right)


def deleted(folder: Path, random: Random) -> Case:
    base = _base(random)
    return _train(folder, random, "deleted", base, [f"~{random.choice(_settings(*base))}"], because=DEFAULT)


def added(folder: Path, random: Random) -> Case:
    base = _base(random)
    word = f"++{random.choice(_settings(*base))}.nosuch={random.choice(ODD)}"
    is_open = word.startswith("++dataset.own.")
    return _train(folder, random, "added", base, [word], because="the group takes any setting" * is_open)


def hydra(folder: Path, random: Random) -> Case:
    words = [f"{random.choice(_settings_of_hydra())}={random.choice(ODD)}", *random.choice([[], ["-m", "seed=0"]])]
    return _train(folder, random, "setting of Hydra", RUNNING[3], words, because=OWN_HYDRA, names=False)


def contradiction(folder: Path, random: Random) -> Case:
    at = random.choice([i for i, line in enumerate(CONTRADICTIONS) if line])
    early = at < CONTRADICTIONS.index("")
    return _train(folder, random, "contradiction", [], _words(CONTRADICTIONS[at]), early=early, names=False)


def grammar(folder: Path, random: Random) -> Case:
    words = random.choice(GRAMMAR)
    return _train(folder, random, "grammar", [], _words(words), names=False)


def option(folder: Path, random: Random) -> Case:
    line = random.choice(COMMANDS)
    (folder / "text.txt").write_text("nothing\n")
    made = {name: _made() / path for name, path in MADE.items()}
    words = shlex.split(line.format(file=folder / "text.txt", **made))
    return Case("option", line, words, FINE.get(line))


def _words(line: str) -> list[str]:
    return re.split(r" (?![^{]*\})", line)  # not within {a: 1, b: 2}


def _train(
    folder: Path, random: Random, kind: str, base: list[str], words: list[str], *, because: str = "",
    early: bool = True, names: bool = True,
) -> Case:  # fmt: skip
    """A training with these words, on the command line or in a notebook."""
    own = ["hydra.run.dir=run"] if "data_dir=nowhere" in base else [*TINY, *SMALL]
    later = any(fnmatchcase(word.lstrip("+~").split("=")[0], pattern) for word in words for pattern in SEEN_LATER)
    named = {word.lstrip("+~").split("=")[0].split(".")[-1] for word in words} if names and not because else set()

    def check(ended: Ended) -> str | None:
        if ended.status == 0:
            return None
        if early and not later and not because and (folder / "cache").exists():
            return "refused after beats had been read"
        if named and not any(name in ended.err for name in named):
            return f"the sentence does not name the setting: {ended.err[-300:]}"
        return None

    words = [*own, *base, *words]
    words.sort(key=lambda word: word in ("-m", "--multirun"))  # after which Hydra takes no more settings
    what = shlex.join(word if len(word) < 200 else f"{word[:50]}…" for word in words)
    if random.random() < 0.2 and not any(word.startswith(("-", "hydra.", "+hydra.")) for word in words):
        return Case(f"{kind}, notebook", what, partial(_in_notebook, words), because or None, check)
    return Case(kind, what, ["train", *words], because or None, check)


def _in_notebook(words: list[str]) -> None:
    from ecg_lightning import compose, train

    train(compose([word for word in words if not word.startswith("hydra.")], output_dir="run"))


def _base(random: Random) -> list[str]:
    return random.choice([*RUNNING, *RUNNING, *ABSENT])


def _is_right(name: str, value: str, groups: Collection[str] = ()) -> bool:
    right = next((values for pattern, values in RIGHT.items() if fnmatchcase(name, pattern)), "")
    return value.replace(" ", "") in right.split() or (value == "{}" and name in groups)  # which adds nothing


@cache
def _settings(*base: str) -> list[str]:
    """Names of all settings and groups that a command composes."""
    from omegaconf import OmegaConf

    from ecg_lightning.pipeline.config import compose

    return [*_names(OmegaConf.to_container(compose(["experiment=demo", *base], output_dir="run"), resolve=False))]


@cache
def _groups(*base: str) -> set[str]:
    return {name.rpartition(".")[0] for name in _settings(*base)}


@cache
def _settings_of_hydra() -> list[str]:
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from ecg_lightning.pipeline.config import config_loader

    cfg = config_loader().load_configuration("train", [], run_mode=RunMode.RUN, from_shell=False)
    left_out = ("hydra.help", "hydra.hydra_help", "hydra.runtime", "hydra.overrides")
    names = _names(OmegaConf.to_container(cfg.hydra, resolve=False), "hydra.")
    return [name for name in names if not name.startswith(left_out)]


def _names(node: Any, prefix: str = "") -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        yield f"{prefix}{name}"
        yield from _names(value, f"{prefix}{name}.")


@cache
def _made() -> Path:
    """Two finished runs, of a network and a baseline, a recording and a file of beats."""
    folder = Path(_kept(tempfile.TemporaryDirectory(prefix="faults-settings-")).name)
    for name, model in (("run", "cnet"), ("other", "majority")):
        words = [
            "train",
            *TINY,
            *SMALL,
            f"model={model}",
            f"hydra.run.dir={folder / name}",
            f"cache_dir={folder / 'cache'}",
        ]
        ended = run(words, cwd=folder)
        assert ended.status == 0, ended
    time = np.arange(3600) / 360
    beats = np.exp(-(((time % 0.8) - 0.4) ** 2) / 0.0005) + 0.01 * np.random.default_rng(0).normal(size=3600)
    np.savetxt(
        folder / "ecg.csv", np.stack([time, beats], axis=1), delimiter=",", header="time,II", comments="", fmt="%.4f"
    )
    np.savetxt(folder / "beats.csv", np.tile(np.r_[np.linspace(0, 1, 187), 0], (5, 1)), delimiter=",", fmt="%.4f")
    return folder


@cache
def _kept(folder: Any) -> Any:
    return folder  # until the process ends

"""Settings out of type and range on the command line of ``ecg-lightning train``."""

from pathlib import Path
from random import Random

from campaigns.frame import Case

ODD = ("-1", "2**40", "1.5", "abc", "nan", "inf", "[]", "{}", "null", "true", "''")


def campaign(folder: Path, random: Random) -> Case:
    setting, value = random.choice(["seed", "optimizer.lr", "trainer.max_epochs"]), random.choice(ODD)
    return Case("odd value", f"{setting}={value}", ["train", "experiment=demo", f"{setting}={value}"], None)

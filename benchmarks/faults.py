"""What the commands do with wrong input, thousands of times: no traceback, no hang, no silent nonsense.

    python benchmarks/faults.py                          # all campaigns, minutes
    python benchmarks/faults.py settings checkpoints     # some
    python benchmarks/faults.py settings --n 1000 --seed 7
    python benchmarks/faults.py settings --only 123      # one case again, with all that it prints

docs/explanation/faults.md has the figures. tests/faults runs some cases of each campaign in CI.
"""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path
from random import Random

os.environ.setdefault("OMP_NUM_THREADS", "1")

from campaigns import CAMPAIGNS
from campaigns.frame import Tally, one_command, preload, repeat


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaigns", nargs="*", choices=[*CAMPAIGNS, []], help=", ".join(CAMPAIGNS))
    parser.add_argument("--n", type=int, help="number of cases of each (default: as in docs/explanation/faults.md)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="run this case alone and show all that it prints")
    chosen = parser.parse_args()
    failed = False
    for name in chosen.campaigns or CAMPAIGNS:
        module = importlib.import_module(f"campaigns.{name}")
        trial = module.trial if hasattr(module, "trial") else one_command(module.campaign)
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            if chosen.only is not None:
                preload()
                case, ended, why = trial(Path(folder), Random(f"{chosen.seed}:{chosen.only}"))
                print(case, ended.out, ended.err, f"exit status {ended.status}, {ended.seconds:.1f} s", sep="\n")
                print(f"failed: {why}" if why else "survived")
                continue
            tally = Tally()
            trials = repeat(trial, chosen.n or CAMPAIGNS[name], chosen.seed, Path(folder))
            for i, (case, ended, why) in enumerate(trials):
                tally.add(case, ended, why)
                if why is not None:
                    print(f"failed: {name} --seed {chosen.seed} --only {i}: {case.what}: {why}", flush=True)
        if chosen.only is None:
            print(summary(name, tally))
            failed |= bool(tally.failures)
    sys.exit(failed)


def summary(name: str, tally: Tally) -> str:
    lines = [
        f"{name}: {tally.tried.total()} tried, {tally.refused.total()} refused with one sentence, "
        f"{tally.accepted.total()} accepted for a reason, {len(tally.failures)} failed; "
        f"slowest {tally.slowest_s:.1f} s, most memory {tally.memory / 2**20:.0f} MiB"
    ]
    lines += [f"  {n:5} × {kind}" for kind, n in tally.tried.most_common()]
    lines += [f"  {n:5} × accepted: {reason}" for reason, n in tally.accepted.most_common()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()

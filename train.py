"""Train, select and test one network, or with ``-m`` several: ``python train.py model=cnet task=mi``."""

import hydra
from omegaconf import DictConfig

from ecg_lightning.cli.train import interruptible, run_job


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Run the composed experiment; the score that chose its checkpoint is what a sweep optimises."""
    return run_job(cfg)


if __name__ == "__main__":
    with interruptible():
        main()

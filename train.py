"""Train, select and test one model, or with ``-m`` several: ``python train.py …`` is ``ecg-lightning train …``."""

from ecg_lightning.cli.train import main

if __name__ == "__main__":
    main()

"""``python -m ecg_lightning …`` is ``ecg-lightning …``."""

from ecg_lightning.cli.main import main

if __name__ == "__main__":
    main()

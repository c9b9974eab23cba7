"""Entry points: `ecg-lightning …` and `python train.py …`."""

"""Heartbeat classification in the electrocardiogram: PyTorch Lightning experiments configured by Hydra."""

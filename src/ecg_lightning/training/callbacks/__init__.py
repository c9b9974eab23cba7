"""Callbacks of the Trainer: weight averaging, checkpoints, interruption, progress."""

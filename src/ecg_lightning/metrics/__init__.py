"""Scores of predictions, their intervals, and the catalogue of metrics; numpy only."""

"""Finished runs: their records, finding, pooling, comparing and collecting them."""

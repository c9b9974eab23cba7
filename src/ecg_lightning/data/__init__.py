"""Everything before the network: sources of beats, their cache, splits, and the batches that come of them."""

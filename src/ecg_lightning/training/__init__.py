"""What happens between data and scores: the LightningModule, weight averaging, and what training shows of itself."""

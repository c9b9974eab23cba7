"""Campaigns of faults: each makes wrong input at random from a seed, for benchmarks/faults.py and tests/faults."""

CAMPAIGNS = {  # the modules of this folder, and how many cases of each docs/explanation/faults.md counts
    "settings": 500,
    "checkpoints": 500,
    "results": 1100,
    "recordings": 500,
    "downloads": 100,
    "disks": 40,
    "stops": 80,
}

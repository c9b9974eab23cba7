"""Floor 1: errors, atomic files, provenance; imports nothing of the package."""

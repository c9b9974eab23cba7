"""Errors, atomic files, plugins and provenance; imports nothing else of the package."""

"""Readers of recordings and their annotations, one module a file format."""

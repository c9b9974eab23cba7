"""Databases: where recordings and beats come from."""

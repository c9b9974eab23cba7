"""The errors a user is meant to read: one sentence on what is wrong, where, and what to do about it."""


class EcgLightningError(Exception):
    """Base of all errors that the package raises on purpose; entry points print it without a traceback."""


class DataError(EcgLightningError):
    """Recordings, files or caches that are absent, damaged, or not what they should be."""


class ConfigError(EcgLightningError):
    """Settings that are unknown, contradict each other, or do not fit the data."""


class CheckpointError(EcgLightningError):
    """A file that is no checkpoint of this project, or one that does not fit."""

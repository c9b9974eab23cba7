"""Errors that a user can act on: one sentence that says what is wrong, where, and what to do."""


class EcgLightningError(Exception):
    """Base of all errors that the package raises on purpose; the command line prints them without a traceback."""


class DataError(EcgLightningError):
    """Recordings, files or caches are missing, damaged or of the wrong kind."""


class ConfigError(EcgLightningError):
    """Settings are unknown, contradict each other or do not fit the data."""


class CheckpointError(EcgLightningError):
    """A file is not a checkpoint of this project, or does not fit."""

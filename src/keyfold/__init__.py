"""Keyfold onboards partners to an event platform and looks after their keys, with a history that can be proved."""

__version__ = "0.1.0"

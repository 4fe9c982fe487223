"""What an operator does at the machine, straight through the application: with the database's rights, without a key."""

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keyfold.app.access import Caller
from keyfold.app.work import Cause
from keyfold.domain.record import Actor
from keyfold.settings import Settings
from keyfold.web.services import Services


@asynccontextmanager
async def operating(settings: Settings) -> AsyncIterator[Services]:
    """The application on Postgres alone; what it appends is relayed at the relay's next look."""
    services = Services(settings)
    await services.postgres.open()
    try:
        yield services
    finally:
        await services.journal.close()
        await services.postgres.close()


def cause(services: Services) -> Cause:
    return Cause(Actor(kind="operator", id=_user()), services.office.new_id("req"))


def operator(services: Services, workspace_id: str) -> Caller:
    """The operator as a caller on behalf of a workspace; may do all that an owner may."""
    return Caller(cause(services), workspace_id, is_owner=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

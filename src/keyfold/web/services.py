"""Everything that the controllers delegate to, made once for a process."""

import os
from datetime import UTC, datetime

from keyfold.app.access import Verifier
from keyfold.app.integrations import Integrations
from keyfold.app.keys import Keys
from keyfold.app.onboarding import Onboarding
from keyfold.app.partners import Partners
from keyfold.app.portal import Portal
from keyfold.app.ports import Clock, Entropy
from keyfold.app.vault import Vault
from keyfold.app.work import Office
from keyfold.app.workspaces import Workspaces
from keyfold.bus.connection import Bus
from keyfold.bus.herald import Herald
from keyfold.settings import Settings
from keyfold.store.journal import PostgresJournal
from keyfold.store.lists import Lists
from keyfold.store.postgres import Postgres


def utc_now() -> datetime:
    return datetime.now(UTC)


class Services:
    """The application, wired to Postgres and NATS. `open` needs neither of them to be there."""

    def __init__(self, settings: Settings, *, clock: Clock = utc_now, entropy: Entropy = os.urandom) -> None:
        self.settings = settings
        self.clock = clock
        self.entropy = entropy
        self.postgres = Postgres(settings.database_url, name="keyfold api")
        self.bus = Bus(settings.nats_url, user=settings.nats_user, password=settings.nats_password, name="keyfold api")
        self.herald = Herald(self.bus)
        self.journal = PostgresJournal(self.postgres, on_append=self.herald.appended)
        self.vault = Vault(settings.peppers, self.entropy)
        self.lists = Lists(self.postgres)
        self.office = Office(journal=self.journal, vault=self.vault, clock=self.clock, entropy=self.entropy)
        self.verifier = Verifier(journal=self.journal, vault=self.vault, clock=self.clock)
        self.portal = Portal(journal=self.journal, vault=self.vault, clock=self.clock)
        self.onboarding = Onboarding(
            self.office, public_url=settings.public_url.rstrip("/"), nats_url=settings.public_nats_url
        )
        self.workspaces = Workspaces(self.office)
        self.integrations = Integrations(self.office)
        self.keys = Keys(self.office)
        self.partners = Partners(self.office)

    async def open(self) -> None:
        await self.postgres.open()
        await self.bus.start()

    async def close(self) -> None:
        await self.journal.close()
        await self.bus.stop()
        await self.postgres.close()

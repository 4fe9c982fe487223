"""Everything that the controllers delegate to, made once for a process."""

import asyncio
import os
import time
from collections.abc import Iterable
from contextlib import suppress

import nats.errors

from keyfold.app import bulk
from keyfold.app.attempts import Attempts
from keyfold.app.cancellation import obey_cancellation
from keyfold.app.catalogue import Catalogue
from keyfold.app.clock import SteadyClock
from keyfold.app.compromise import Compromise
from keyfold.app.console import Console
from keyfold.app.consumer_groups import ConsumerGroups
from keyfold.app.embedding import Embedding
from keyfold.app.erasing import Erasures
from keyfold.app.event_usage import EventUsage
from keyfold.app.explaining import Explaining
from keyfold.app.ingress import Ingress
from keyfold.app.integrations import Integrations
from keyfold.app.key_life import KeyLife
from keyfold.app.keys import Keys
from keyfold.app.limits import Limiter, Throttle
from keyfold.app.links import Links
from keyfold.app.memory import Memory
from keyfold.app.onboarding import Onboarding
from keyfold.app.partners import Partners
from keyfold.app.portal import Portal
from keyfold.app.ports import Clock, Entropy
from keyfold.app.promotion import Promotion
from keyfold.app.readings import Exports, Readings
from keyfold.app.recipients import Recipients
from keyfold.app.roles import Roles
from keyfold.app.rotation import Rotation
from keyfold.app.sealing import Sealing
from keyfold.app.topics import Topics
from keyfold.app.trials import Trials
from keyfold.app.usage import Usage
from keyfold.app.vault import Vault
from keyfold.app.verdicts import Witness
from keyfold.app.verifier import Verifier
from keyfold.app.work import Cause, Office
from keyfold.app.workspaces import Workspaces
from keyfold.bus.connection import Bus
from keyfold.bus.consumers import Consumers
from keyfold.bus.dead_letters import DeadLetters
from keyfold.bus.durables import Durables
from keyfold.bus.egress import Egress
from keyfold.bus.event_streams import EventStreams
from keyfold.bus.event_usage import UsageSender
from keyfold.bus.following import Following
from keyfold.bus.gateway import Gateway
from keyfold.bus.hearing import Hearing
from keyfold.bus.herald import Herald
from keyfold.bus.letters import Letters
from keyfold.bus.tending import Tending
from keyfold.bus.topology import core_login
from keyfold.bus.verification import VerificationResponder
from keyfold.bus.watching import Watching
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Conflict, Refusal, Unavailable
from keyfold.metrics import DROPPED_EVENT_USAGES, DROPPED_USAGES
from keyfold.settings import Settings
from keyfold.store.data_keys import Opener
from keyfold.store.event_usage import EventUsageStore
from keyfold.store.feed import Feed
from keyfold.store.journal import PostgresJournal
from keyfold.store.lists import Lists
from keyfold.store.past import Past
from keyfold.store.personal import PersonalStore
from keyfold.store.postgres import Postgres
from keyfold.store.stages import Stages
from keyfold.store.tail import Tail
from keyfold.store.traces import TraceStore
from keyfold.store.usage import UsageStore

FLUSH = 2.0
"""Seconds between two writes of what was observed of keys."""
FLUSH_TALLIES = 2.0
"""Seconds between two looks at what was counted for the log: readings, and refused attempts."""


class Services:
    """The application, wired to Postgres and NATS. `open` needs neither of them to be there."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, entropy: Entropy = os.urandom) -> None:
        self.settings = settings
        self.clock = clock or SteadyClock()
        self.entropy = entropy
        self.postgres = Postgres(settings.database_url, name="keyfold api")
        self.bus = Bus(settings.nats_url, login=core_login(settings), name="keyfold api")
        self.herald = Herald(self.bus)
        self.tail = Tail(self.postgres)
        self.hearing = Hearing(self.bus, self.tail, on_moved=self._forget)
        self.memory = Memory(self.hearing)
        self.sealing = Sealing(settings.peppers, self.entropy)
        self.journal = PostgresJournal(self.postgres, self.sealing, on_append=self._appended)
        self.vault = Vault(settings.peppers, self.entropy)
        self.opener = Opener(self.sealing)
        self.lists = Lists(self.postgres, self.opener)
        self.past = Past(self.postgres, self.opener)
        self.stages = Stages(self.postgres)
        self.feed = Feed(self.postgres, self.lists)
        self.office = Office(
            journal=self.journal, vault=self.vault, sealing=self.sealing, clock=self.clock, entropy=self.entropy
        )
        self._wire_verification()
        self._wire_events()
        self._wire_portal()
        self._wire_commands()

    def _wire_verification(self) -> None:
        self.limiter = Limiter(time.monotonic)
        self.usage = Usage()
        DROPPED_USAGES.set_function(lambda: self.usage.dropped)
        self.usage_store = UsageStore(self.postgres)
        self._first_uses: dict[str, asyncio.Task[None]] = {}
        self.verifier = Verifier(
            journal=self.journal,
            vault=self.vault,
            clock=self.clock,
            memory=self.memory,
            limiter=self.limiter,
            throttle=Throttle(time.monotonic),
            usage=self.usage,
            on_first_use=self._used_first,
        )

    def _wire_events(self) -> None:
        settings = self.settings
        self.event_usage = EventUsage()
        DROPPED_EVENT_USAGES.set_function(lambda: self.event_usage.dropped)
        self.event_usage_store = EventUsageStore(self.postgres)
        self.event_usage_sender = UsageSender(
            self.bus, self.event_usage, replicas=settings.nats_replicas, new_id=self.office.new_id
        )
        self.catalogue = Catalogue(journal=self.journal, hears=self.hearing)
        self.recipients = Recipients(self.journal, self.hearing)
        self.event_streams = EventStreams(self.bus, replicas=settings.nats_replicas)
        self.ingress = Ingress(
            verifier=self.verifier,
            streams=self.event_streams,
            schemas=self.catalogue,
            recipients=self.recipients,
            usage=self.event_usage,
            clock=self.clock,
            new_id=self.office.new_id,
        )
        self.dead_letters = DeadLetters(self.bus, replicas=settings.nats_replicas)
        self.consumers = Consumers(
            Durables(self.bus, self.event_streams, self.dead_letters, replicas=settings.nats_replicas),
            journal=self.journal,
            find=self.verifier.find_id,
            clock=self.clock,
        )
        self.egress = Egress(self.bus, self.consumers, verifier=self.verifier, usage=self.event_usage, clock=self.clock)
        self.following = Following(self.bus, self.event_streams, self.consumers, self.egress)
        self.tending = Tending(self.consumers, self.dead_letters, self.following, self.egress, clock=self.clock)
        self.consumer_groups = ConsumerGroups(self.office)
        self.attempts, self.readings, self.exports = Attempts(self.office), Readings(self.office), Exports(self.office)
        self.witness = Witness(self.readings, self.attempts, "http")
        self.gateway = Gateway(
            settings,
            self.bus,
            ingress=self.ingress,
            natives=self.consumers.natives,
            verifier=self.verifier,
            clock=self.clock,
            new_id=self.office.new_id,
            on_refused=self.attempts.note,
        )
        self.responder = VerificationResponder(
            self.bus,
            verifier=self.verifier,
            limiter=self.limiter,
            clock=self.clock,
            new_id=self.office.new_id,
            witness=self.witness._replace(road="nats"),
        )

    def _wire_portal(self) -> None:
        settings = self.settings
        public_url = settings.public_url.rstrip("/")
        self.portal = Portal(self.office, nats_url=settings.public_nats_url)
        self.onboarding = Onboarding(self.office, public_url=public_url, nats_url=settings.public_nats_url)
        self.links = Links(self.office, public_url=public_url)
        self.embedding = Embedding(self.journal)
        self.console = Console(self.office, self.verifier, self.limiter, public_url=public_url)
        find = self.verifier.find_id
        self.trials = Trials(self.ingress, journal=self.journal, find=find)
        self.watching = Watching(self.bus, self.event_streams, self.egress, self.portal, find=find, clock=self.clock)
        self.letters = Letters(self.consumers, self.tending, find=find, clock=self.clock)

    def _wire_commands(self) -> None:
        self.workspaces = Workspaces(self.office)
        self.integrations = Integrations(self.office)
        self.topics = Topics(self.office)
        self.roles = Roles(self.office)
        self.keys = Keys(self.office)
        self.key_life = KeyLife(self.office)
        self.rotation = Rotation(self.office)
        self.partners = Partners(self.office)
        self.erasures = Erasures(self.office, PersonalStore(self.postgres, self.sealing))
        self.explaining = Explaining(journal=self.journal, vault=self.vault, clock=self.clock)
        self.compromise = Compromise(self.office, TraceStore(self.postgres, self.usage_store))
        self.promotion = Promotion(self.office)

    async def open(self) -> None:
        await self.postgres.open()
        await self.bus.start()

    async def run(self) -> None:
        """Tells the others what was appended here and hears of theirs, until cancelled; answers over NATS until
        closed."""
        await self.responder.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.herald.run(), name="herald")
            group.create_task(self.hearing.run(), name="hearing")
            group.create_task(self.gateway.run(), name="gateway")
            group.create_task(self._flush_usage(), name="usage")
            group.create_task(self._flush_tallies(), name="tallies")
            group.create_task(self._flush_event_usage(), name="event usage")

    async def close(self) -> None:
        await self.responder.stop()
        await self.gateway.close()
        await asyncio.gather(*self._first_uses.values(), bulk.settled())
        with suppress(Unavailable):
            await self.usage_store.flush(self.usage)
            await self.attempts.flush()
            await self.readings.flush()
        with suppress(nats.errors.Error):
            await self.event_usage_sender.flush()
        await self.journal.close()
        await self.bus.stop()
        await self.postgres.close()

    def _appended(self, position: int, streams: Iterable[str]) -> None:
        self.hearing.moved(streams)
        self.herald.appended(position, streams)

    def _forget(self, streams: Iterable[str]) -> None:
        moved = [*streams]
        for each in (self.journal, self.memory, self.catalogue, self.recipients):
            each.forget(moved)
        self.gateway.reaper.moved(moved)

    async def _flush_usage(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            with suppress(Unavailable):
                await self.usage_store.flush(self.usage)

    async def _flush_tallies(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_TALLIES)
            with suppress(Unavailable, Conflict):
                await self.attempts.flush()
                await self.readings.flush()

    async def _flush_event_usage(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            with suppress(nats.errors.Error):
                await self.event_usage_sender.flush()
            obey_cancellation()

    def _used_first(self, key_id: str) -> None:
        if key_id not in self._first_uses:
            self._first_uses[key_id] = asyncio.create_task(self._note_first_use(key_id))

    async def _note_first_use(self, key_id: str) -> None:
        """Written down at once; when that fails, at the next use."""
        cause = Cause(Actor(kind="system", id="first-use"), self.office.new_id("req"))
        try:
            with suppress(Refusal):
                await self.rotation.note_first_use(cause, key_id)
        finally:
            del self._first_uses[key_id]

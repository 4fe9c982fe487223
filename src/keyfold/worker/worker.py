"""All loops of a worker process. Any number of such processes may run: what only one may do, the leader does."""

import asyncio
import os
import platform
from contextlib import suppress

from nats.aio.msg import Msg

from keyfold.app.clock import SteadyClock
from keyfold.app.ports import Clock
from keyfold.app.schedules import Schedules
from keyfold.app.sealing import Sealing
from keyfold.app.vault import Vault
from keyfold.app.work import Office
from keyfold.bus.connection import Bus
from keyfold.bus.event_usage import UsageReader
from keyfold.bus.herald import Herald
from keyfold.bus.lifecycle import LifecycleReader, LifecycleStream
from keyfold.bus.subjects import APPENDED
from keyfold.bus.topology import core_login
from keyfold.domain.refusals import Unavailable
from keyfold.settings import Settings
from keyfold.store.data_keys import Opener
from keyfold.store.event_usage import EventUsageStore
from keyfold.store.journal import PostgresJournal
from keyfold.store.postgres import Postgres
from keyfold.store.projections import PROJECTIONS
from keyfold.store.queries import query
from keyfold.worker.auditing import auditing_loops
from keyfold.worker.event_usage import ConsumerSampler, UsageWriter
from keyfold.worker.leader import Leader
from keyfold.worker.loop import Loop
from keyfold.worker.projector import Projector
from keyfold.worker.relay import Relay
from keyfold.worker.schedules import Scheduler


class Worker:
    """Relay, tree, projections, schedules and housekeeping. `run` ends only by cancellation, or by the exception of
    a dead loop."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None) -> None:
        self.postgres = Postgres(settings.database_url, name="keyfold worker", schema="projections")
        self.bus = Bus(settings.nats_url, login=core_login(settings), name="keyfold worker")
        self._herald = Herald(self.bus)
        sealing = Sealing(settings.peppers, os.urandom)
        self._journal = PostgresJournal(self.postgres, sealing, on_append=self._herald.appended)
        self._process = f"{platform.node()}/{os.getpid()}"
        self._appended = asyncio.Event()
        stream = LifecycleStream(self.bus, replicas=settings.nats_replicas)
        relay = Relay(self.postgres, stream)
        clock = clock or SteadyClock()
        vault = Vault(settings.peppers, os.urandom)
        office = Office(journal=self._journal, vault=vault, sealing=sealing, clock=clock, entropy=os.urandom)
        scheduler = Scheduler(self.postgres, Schedules(office), clock)
        self._event_usage = EventUsageStore(self.postgres)
        writer = UsageWriter(UsageReader(self.bus, replicas=settings.nats_replicas), self._event_usage)
        sampler = ConsumerSampler(self.bus, self._event_usage, clock)
        self.loops = [
            Loop("relay", step=relay.step, every=0.2, wake=self._appended, leader=self._leader("relay")),
            *auditing_loops(settings, self.postgres, self.bus, stream, self._leader),
            *[
                Loop(
                    f"projection {name}",
                    step=Projector(self.postgres, LifecycleReader(self.bus), projection, Opener(sealing)).step,
                    every=0,
                    leader=self._leader(f"projection {name}"),
                )
                for name, projection in PROJECTIONS.items()
            ],
            Loop("schedules", step=scheduler.step, every=1, leader=self._leader("schedules")),
            Loop("usage", step=writer.step, every=1, leader=self._leader("usage")),
            Loop("consumers", step=sampler.step, every=10, leader=self._leader("consumers")),
            Loop("janitor", step=self._forget, every=600, leader=self._leader("janitor")),
        ]

    async def run(self) -> None:
        await self.postgres.open()
        await self.bus.handle(APPENDED, self._on_appended)
        await self.bus.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._herald.run(), name="herald")
                for loop in (*self.loops, Loop("heart", step=self._beat, every=1)):
                    group.create_task(loop.run(), name=loop.name)
        finally:
            await self._forget_self()
            await self._journal.close()
            await self.bus.stop()
            await self.postgres.close()

    def _leader(self, name: str) -> Leader:
        return Leader(self.postgres, name)

    async def _on_appended(self, message: Msg) -> None:
        self._appended.set()

    async def _forget(self) -> bool:
        """What is kept for a time: answers to repeated requests, addresses that keys were used from, and usage by the
        minute."""
        async with self.postgres.connection() as connection:
            for name in ("forget_replays", "forget_addresses"):
                await connection.execute(query(name))
        return await self._event_usage.age()

    async def _beat(self) -> bool:
        """Says how the loops are, for every process's `/health/ready`."""
        columns = zip(*[(loop.name, loop.status, loop.detail) for loop in self.loops], strict=True)
        await self.postgres.fetch(query("beat"), self._process, *[list(column) for column in columns])
        return False

    async def _forget_self(self) -> None:
        """A worker that stopped in order is not missed; one that was killed fades out of sight."""
        with suppress(Unavailable):
            await self.postgres.fetch(query("forget_loops"), self._process)

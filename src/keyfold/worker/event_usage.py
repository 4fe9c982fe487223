"""How keys are used for events, brought to Postgres: what APIs hand over, and what consumers say of themselves."""

from keyfold.app.event_usage import ConsumerSample
from keyfold.app.ports import Clock
from keyfold.bus.connection import Bus
from keyfold.bus.consumer_samples import sampled
from keyfold.bus.event_usage import UsageReader
from keyfold.store.event_usage import EventUsageStore


class UsageWriter:
    """Writes down what was handed over, each batch once: Postgres knows which it has."""

    def __init__(self, reader: UsageReader, store: EventUsageStore) -> None:
        self._reader = reader
        self._store = store

    async def step(self) -> bool:
        """Whether there may be more. Raises `Unavailable` and `nats.errors.Error`; what isn't done then comes again."""
        batches = await self._reader.batches()
        for batch in batches:
            await self._store.add(batch.id, batch.payload)
            await batch.done()
        return bool(batches)


class ConsumerSampler:
    """Asks JetStream what its consumers have delivered, since apps read from it and no API is in between.

    Who has moved is remembered, and only that is written. What came before is in Postgres: neither a restart nor
    another leader counts anything twice or passes anything over.
    """

    def __init__(self, bus: Bus, store: EventUsageStore, clock: Clock) -> None:
        self._bus = bus
        self._store = store
        self._clock = clock
        self._known: dict[tuple[str, str], ConsumerSample] = {}

    async def step(self) -> bool:
        """Raises `Unavailable` and `nats.errors.Error`."""
        known: dict[tuple[str, str], ConsumerSample] = {}
        async for samples in sampled(self._bus):
            moved = [each for each in samples if self._known.get((each.stream, each.consumer)) != each]
            if moved:
                await self._store.sample(int(self._clock().timestamp()) // 60, moved)
            known |= {(each.stream, each.consumer): each for each in samples}
        self._known = known
        return False

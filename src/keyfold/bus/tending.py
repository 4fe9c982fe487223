"""Looking after consumers: how far they are, moving them, and what they have given up on."""

import asyncio
from contextlib import suppress

from nats.js.errors import NotFoundError

from keyfold.app.memory import Known
from keyfold.app.ports import Clock
from keyfold.bus.consumers import Consumer, Consumers, recipient_of, topic_of
from keyfold.bus.dead_letters import DeadLetter, DeadLetters
from keyfold.bus.durables import answering
from keyfold.bus.egress import Egress, Met
from keyfold.bus.following import Following, Place
from keyfold.bus.inspecting import ConsumerView, DeadLetterView, consumer_view, dead_letter_view
from keyfold.domain.app_event import subject_of
from keyfold.domain.refusals import Unavailable


class Tending:
    """Every method is for a key that may receive by now, and raises as `Consumers.named` does."""

    def __init__(
        self, consumers: Consumers, dead_letters: DeadLetters, following: Following, egress: Egress, *, clock: Clock
    ) -> None:
        self._consumers = consumers
        self._dead_letters = dead_letters
        self._following = following
        self._egress = egress
        self._clock = clock

    async def views(self, known: Known) -> list[ConsumerView]:
        """Every consumer that the key may use."""
        usable = await self._consumers.usable(known)
        return await asyncio.gather(*[self._view(each) for each in usable])

    async def seek(self, known: Known, name: str, place: Place) -> ConsumerView:
        """It goes on from there, or from where the window begins if that is later."""
        this, key = await self._consumers.named(known, name), known.subject.key
        start = await self._following.start(key, this.reach, place, self._clock())
        await self._consumers.durables.move(this.durable._replace(start=start))
        return await self._view(this)

    async def clear(self, this: Consumer) -> None:
        """Takes away all that there is of a group that was removed; what is left when NATS is away goes by itself."""
        with suppress(Unavailable):
            await self._consumers.durables.remove(this.stream, this.durable.name)
            async with answering():
                await self._dead_letters.purge(this.stream, this.durable.name)

    async def dead_letters(self, known: Known, name: str, *, after: int, most: int) -> list[DeadLetterView]:
        this = await self._consumers.named(known, name)
        async with answering():
            found = await self._dead_letters.page(this.stream, _names(this), after=after, most=most)
        return [self._shown(this, each) for each in found]

    async def redrive(self, known: Known, name: str, sequence: int) -> DeadLetterView:
        """Raises `NotFound`, `EventGone`."""
        this, letter = await self._letter(known, name, sequence)
        view, durable = self._shown(this, letter), this.durable
        subject = subject_of(durable.workspace_id, durable.environment, this.target, view.topic or "")
        async with answering():
            await self._dead_letters.redrive(letter if view.topic else letter._replace(event=None), subject)
        return view

    async def discard(self, known: Known, name: str, sequence: int) -> DeadLetterView:
        """Raises `NotFound`."""
        this, letter = await self._letter(known, name, sequence)
        async with answering():
            await self._dead_letters.discard(letter)
        return self._shown(this, letter)

    async def _letter(self, known: Known, name: str, sequence: int) -> tuple[Consumer, DeadLetter]:
        this = await self._consumers.named(known, name)
        async with answering():
            return this, await self._dead_letters.one(this.stream, _names(this), sequence)

    def _shown(self, this: Consumer, letter: DeadLetter) -> DeadLetterView:
        """Without the event where the consumer may not give it by now, or never could: JetStream notes whatever is
        terminated, whether or not it was delivered."""
        event, recipients = letter.event, {recipient_of(each) for each in this.durable.subjects}
        if event is None or event.time is None or recipient_of(str(event.subject)) not in recipients:
            return dead_letter_view(letter, shown=False)
        met = Met(letter.advisory.stream_seq, topic_of(str(event.subject)), event.time, event.data or b"")
        return dead_letter_view(letter, shown=self._egress.takes(this.reach, met))

    async def _view(self, this: Consumer) -> ConsumerView:
        for _ in range(2):
            await self._consumers.durables.ensure(this.durable)
            with suppress(NotFoundError):
                return await consumer_view(self._consumers.durables, this)
            self._consumers.durables.forget(this.stream, this.durable.name)
        raise Unavailable("The consumer went away again and again. Try again in a moment.")


def _names(this: Consumer) -> tuple[str, ...]:
    """Those that its durable goes and went by."""
    return tuple(dict.fromkeys((this.durable.name, this.target, this.durable.sibling or this.target)))

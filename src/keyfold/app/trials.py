"""Test events: sent from the portal as one of the partner's keys would send them, by the same rule and ingress."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from keyfold.app.ingress import Ingress, Published
from keyfold.app.memory import Known
from keyfold.app.portal import Home
from keyfold.app.ports import Journal
from keyfold.domain.aggregates import INTEGRATION, KEY, TOPIC
from keyfold.domain.app_event import draft
from keyfold.domain.key import KeyUnusable
from keyfold.domain.permissions import Environment
from keyfold.domain.refusals import Invalid, NotFound, Unauthenticated
from keyfold.domain.topics import is_topic

TEST = "keyfoldtest"
"""The attribute that tells receivers that an event is a test."""


class Trials:
    """`find` gives a key by its id, from memory or from the truth."""

    def __init__(self, ingress: Ingress, *, journal: Journal, find: Callable[[str], Awaitable[Known | None]]) -> None:
        self._ingress = ingress
        self._journal = journal
        self._find = find

    async def publish(
        self,
        home: Home,
        key_id: str,
        environment: Environment,
        topic: str,
        data: Any = msgspec.UNSET,
        *,
        event_id: str | None,
        address: str,
    ) -> Published:
        """Stores a test event of this key; without data the topic's first example. It is counted as the key's, which
        isn't noted as used: nobody has shown it. Raises `NotFound`, `KeyUnusable`, and what the ingress does."""
        home.demand_key(key_id)
        known = await self._find(key_id)
        if known is None or known.subject.key.environment != environment:
            raise NotFound.of(KEY.word, key_id)
        if not is_topic(topic):
            raise Invalid("The event needs a topic.", ("/topic", "Give a topic such as app/order/created."))
        if data is msgspec.UNSET:
            data = await self._example(home.partner.integration_id, topic)
        event = draft({TEST: True, "id": event_id}, data=data)
        try:
            return await self._ingress.publish(known, event, topic=topic, address=address, road="portal")
        except Unauthenticated:  # said of the key here, and not of whoever asks
            raise KeyUnusable(
                "This key can't be used here and now: it has ended, is suspended or pending, or isn't for this network."
            ) from None

    async def _example(self, integration_id: str, name: str) -> Any:
        integration = (await self._journal.load(INTEGRATION, integration_id)).state
        topic_id = integration.topics.get(name) if integration is not None else None
        topic = (await self._journal.load(TOPIC, topic_id)).state if topic_id is not None else None
        return topic.terms.examples[0] if topic is not None and topic.terms.examples else {"test": True}

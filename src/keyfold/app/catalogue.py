"""The topic catalogue as the road of events asks it: whether an event's data is as its topic's schema says."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from keyfold.app.memory import Hears, Known
from keyfold.app.ports import Journal
from keyfold.app.recollection import Recollection
from keyfold.app.schemas import Judge, SchemaViolation
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.judgement import Question, Subject, findings
from keyfold.domain.rule import Action

INTEGRATIONS = 10_000
"""Integrations whose topics are remembered by name."""
TOPICS = 2_000
"""Topics whose compiled schemas are remembered."""


class _Judged(NamedTuple):
    """The newest version of a topic's schema, None while it has none."""

    judge: Judge | None
    version: int = 0


_UNJUDGED = _Judged(None)


class Catalogue:
    """Events are held to the newest version. What is remembered is never stale: see `Recollection`."""

    def __init__(self, *, journal: Journal, hears: Hears) -> None:
        self._journal = journal
        self._names: Recollection[dict[str, str]] = Recollection(hears, INTEGRATIONS)
        self._judged: Recollection[_Judged] = Recollection(hears, TOPICS)

    async def demand_valid(self, known: Known, topic: str, data: Any) -> None:
        """Raises `SchemaViolation` where the integration of the key has a schema for the topic and the data isn't as it
        says; `Unavailable` when that can't be told. Whether the key may use the topic is not asked here."""
        integration_id = known.subject.key.integration_id
        if integration_id is None:
            return
        names = self._names.find(integration_id)
        if names is None:
            names = await self._load_names(integration_id)
        topic_id = names.get(topic)
        if topic_id is None:
            return
        judged = self._judged.find(topic_id)
        if judged is None:
            judged = await self._load_judged(topic_id)
        if judged.judge is not None and (faults := judged.judge.faults("", data)):
            raise SchemaViolation.of(f"Version {judged.version} of the schema of {topic}", faults)

    def forget(self, streams: Iterable[str]) -> None:
        """These have moved."""
        moved = [*streams]
        self._names.forget(each for each in moved if each.startswith(INTEGRATION.prefix))
        self._judged.forget(each for each in moved if each.startswith(TOPIC.prefix))

    async def _load_names(self, integration_id: str) -> dict[str, str]:
        mark = self._names.mark()
        integration = (await self._journal.load(INTEGRATION, integration_id)).state
        names = integration.topics if integration is not None else {}
        self._names.keep(integration_id, names, mark)
        return names

    async def _load_judged(self, topic_id: str) -> _Judged:
        mark = self._judged.mark()
        topic = (await self._journal.load(TOPIC, topic_id)).state
        newest = topic and topic.newest
        judged = _Judged(Judge(newest.schema), newest.version) if newest else _UNJUDGED
        self._judged.keep(topic_id, judged, mark)
        return judged


def may(subject: Subject, action: Action, topic: str, now: datetime) -> bool:
    """Whether the key may do that, wherever it is shown from."""
    asked = findings(subject, Question(action, topic), now)
    return all(each.code is None for each in asked if each.check != "network")

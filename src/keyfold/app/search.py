"""Who may do something now: keys, each judged as a verification would, a page at a time."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import Any, NamedTuple

from keyfold.app.ports import Loaded
from keyfold.app.subjects import Load, load_subject
from keyfold.domain.aggregates import Aggregate
from keyfold.domain.judgement import Finding, Question, Subject, findings
from keyfold.domain.key_state import Key

BATCH = 500
"""Candidates that are read at once."""
MOST = 10_000
"""Candidates that one request looks at."""

Candidates = Callable[[str | None, int], Awaitable[list[Key]]]
"""Keys after a cursor, newest first, up to a number, fewer at the end; as current as the question."""


class Permitted(NamedTuple):
    """Some of those who may, and the cursor that continues them, None at the end."""

    keys: list[Key]
    next_cursor: str | None


class Search:
    """One question, asked about many keys. From where a key may be used is not asked: one that is bound to networks may
    from there."""

    def __init__(self, load: Load, question: Question, now: datetime) -> None:
        self._load = _remembering(load)
        self._question = question
        self._now = now
        self._closed: set[tuple[str | None, str | None]] = set()

    async def page(self, candidates: Candidates, cursor: str | None, limit: int) -> Permitted:
        """A full page, unless none are left; after `MOST` candidates it may be shorter, and goes on at its cursor."""
        found: list[Key] = []
        looked_at, size = 0, min(BATCH, 2 * limit)  # mostly most of them may
        while looked_at < MOST:
            batch = await candidates(cursor, size)
            for key in batch:
                if await self._may(key):
                    if len(found) == limit:
                        return Permitted(found, found[-1].id)
                    found.append(key)
            if len(batch) < size:
                return Permitted(found, None)
            cursor, looked_at, size = batch[-1].id, looked_at + size, BATCH
        return Permitted(found, cursor)

    async def _may(self, key: Key) -> bool:
        rule, action = key.document.rule, self._question.action
        if rule is None or action is None or rule.refuses(action, self._question.topic) is not None:
            return False  # as the judgement would say, at a fraction of its price
        if any((above, key.environment) in self._closed for above in (key.parent_id, key.integration_id)):
            return False
        subject = await self._subject(key)
        against = [*_against(subject, self._question, self._now)]
        # what stands above this key and refuses it would refuse every other key below
        self._closed.update((each.id, key.environment) for each in against if each.level != "key")
        return not against

    async def _subject(self, key: Key) -> Subject:
        async def load(aggregate: Aggregate[Any], of: str) -> Loaded[Any]:
            return Loaded(key, 0) if of == key.id else await self._load(aggregate, of)

        subject, _ = await load_subject(load, key.id)
        if subject is None:
            raise LookupError(f"{key.id} is there and isn't")
        return subject


def _against(subject: Subject, question: Question, now: datetime) -> Iterator[Finding]:
    for finding in findings(subject, question, now):
        if finding.code is not None and finding.check != "network":
            yield finding


def _remembering(load: Load) -> Load:
    """The same, each thing once: what one page is made of is as it was at one moment."""
    known: dict[str, Loaded[Any]] = {}

    async def remembered(aggregate: Aggregate[Any], of: str) -> Loaded[Any]:
        if of not in known:
            known[of] = await load(aggregate, of)
        return known[of]

    return remembered

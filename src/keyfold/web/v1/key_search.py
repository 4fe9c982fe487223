"""How keys are searched: the parameters, and lists of those who may do something now."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Request
from litestar.params import QueryParameter

from keyfold.app.ports import Loaded
from keyfold.app.search import Search
from keyfold.domain.aggregates import KEY, Aggregate
from keyfold.domain.ids import is_id
from keyfold.domain.judgement import Question
from keyfold.domain.key_document import TAG_LENGTH
from keyfold.domain.key_state import Key, KeyStatus
from keyfold.domain.limits import NAME_LENGTH
from keyfold.domain.moment import Moment
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Action
from keyfold.domain.topics import is_topic
from keyfold.store.key_filter import LONGEST_DAYS, KeyFilter, usable
from keyfold.store.lists import Page
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import ONE_LINE, within_bounds

ParentFilter = Annotated[
    str | None, QueryParameter(name="parentId", pattern=ONE_LINE, description="Keys handed on from this one.")
]
TagFilter = Annotated[str | None, QueryParameter(min_length=1, max_length=TAG_LENGTH, pattern=ONE_LINE)]
RoleFilter = Annotated[
    str | None, QueryParameter(min_length=1, pattern=ONE_LINE, description="A built-in role, or the id of another.")
]
NamePart = Annotated[
    str | None,
    QueryParameter(min_length=1, max_length=NAME_LENGTH, pattern=ONE_LINE, description="Part of the name."),
]
IssuedBefore = Annotated[datetime | None, QueryParameter(name="issuedBefore")]
ExpiresWithin = Annotated[
    int | None,
    QueryParameter(name="expiresWithinDays", ge=1, le=LONGEST_DAYS, description="Keys that end by then at the latest."),
]
RotationDueWithin = Annotated[
    int | None,
    QueryParameter(
        name="rotationDueWithinDays", ge=1, le=LONGEST_DAYS, description="Their policy wants them rotated by then."
    ),
]
IdleDays = Annotated[
    int | None,
    QueryParameter(
        name="idleDays", ge=1, le=LONGEST_DAYS, description="Issued before that, and not found valid since."
    ),
]
OverWideDays = Annotated[
    int | None,
    QueryParameter(
        name="overWideDays",
        ge=1,
        le=LONGEST_DAYS,
        description="Service keys that may send or may receive, and for so long didn't: they could be narrowed.",
    ),
]
ActionFilter = Annotated[
    Action | None,
    QueryParameter(description="Keys that may do this now, as a verification would say, parents and all."),
]
TopicFilter = Annotated[str | None, QueryParameter(description="With `action`: on this topic.")]


def question(action: Action | None, topic: str | None) -> Question | None:
    """What the keys of a list must be permitted, if anything. Raises `Invalid`."""
    if topic is not None and not is_topic(topic):
        raise Invalid("This is not a topic.", ("?topic", "A topic looks like app/order/created."))
    if topic is not None and action is None:
        raise Invalid("A topic needs an action.", ("?action", "Say whether to send or to receive."))
    return None if action is None else Question(action, topic)


async def permitted(
    request: Request[Any, Any, Any],
    asked: Question,
    filters: KeyFilter,
    *,
    status: KeyStatus | None,
    cursor: str | None,
    min_position: int | None,
    limit: int,
    at: Moment | None = None,
) -> Page:
    """A page of the keys that the caller sees and that the judgement permits this, by all that was written before, or
    by all that was written at a moment."""
    if cursor is not None and not is_id("key", cursor):
        raise Invalid("This is no cursor of this list.", ("?cursor", "Send `nextCursor` as it was given."))
    by, of = await caller(request), services(request)
    if at is None:
        await of.lists.include("current", max(await of.journal.head(), min_position or 0))
    now = at.time if at else of.clock()
    conditions = filters.conditions(now)
    conditions |= within_bounds(by, KEY, conditions) | usable(now)

    async def candidates(after: str | None, most: int) -> list[Key]:
        these: Any = {"status": status, "cursor": after, "limit": most}
        if at is None:
            page = await of.lists.page("key", by.workspace_id, conditions, now=now, **these)
        else:
            page = await of.past.page("key", by.workspace_id, conditions, at=at, **these)
        return page.items

    async def load(aggregate: Aggregate[Any], stream: str) -> Loaded[Any]:
        return await (
            of.journal.load(aggregate, stream) if at is None else of.past.load(aggregate, stream, at.position)
        )

    found = await Search(load, asked, now).page(candidates, cursor, limit)
    return Page(found.keys, found.next_cursor)

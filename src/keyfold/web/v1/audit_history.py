"""The past for those who look into it: what changed between two moments, and who could do something at one."""

from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.params import FromQuery, QueryParameter

from keyfold.app.access import FIELDS
from keyfold.app.changes import ChangeView, Kind, change_of
from keyfold.app.views import KeyView, key_fields
from keyfold.domain.judgement import Question
from keyfold.domain.key_state import Key
from keyfold.domain.moment import Moment
from keyfold.domain.permissions import Environment
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Action
from keyfold.store.key_filter import KeyFilter
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    ONE_LINE,
    AsOf,
    CursorParameter,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    PartnerFilter,
    bounds_on,
    moment,
    moment_of,
    present,
)
from keyfold.web.v1.key_search import permitted, question
from keyfold.web.v1.naming import demand_ids

Req = Request[Any, Any, Any]
Filters = dict[str, object]
THE_KEY = "aggregate = 'key' AND id = $?"
_A_MOMENT = "A time such as `2026-03-01T12:00:00Z`, or a position of the log"


class HolderView(KeyView, frozen=True, kw_only=True):
    """A key as it was, and the pattern of it that covered the topic, null where none was asked about."""

    pattern: str | None


class HistoryController(Controller):
    path = "/audit"
    tags = ("Audit",)

    @get("/changes", opt={"permission": "audit:read"}, summary="Compare two moments")
    async def changes(
        self,
        request: Req,
        since: Annotated[
            str, QueryParameter(name="from", min_length=1, max_length=64, description=f"{_A_MOMENT}; 0 is before all.")
        ],
        until: Annotated[
            str | None,
            QueryParameter(name="to", min_length=1, max_length=64, description=f"{_A_MOMENT}; now if left out."),
        ] = None,
        kind: FromQuery[Kind | None] = None,
        partner_id: PartnerFilter = None,
        integration_id: IntegrationFilter = None,
        key_id: Annotated[str | None, QueryParameter(name="keyId", pattern=ONE_LINE)] = None,
        cursor: CursorParameter = None,
        limit: Limit = 50,
    ) -> ListEnvelope[ChangeView]:
        """Everything that something happened to behind `from` and up to `to`, in the order in which that began, each as
        it was at both moments. What only time brought about, such as an expiry that isn't written down yet, is none.

        A key that is narrowed is shown what happened to the things that it is narrowed to, and nothing else.
        """
        demand_ids(partnerId=partner_id, keyId=key_id, integrationId=integration_id)
        asked = {"integration_id = $?": integration_id, "partner_id = $?": partner_id}
        these: Filters = {**asked, "aggregate = $?": kind, THE_KEY: key_id}
        page = await changed(request, since, until, these, cursor, limit)
        services(request).readings.note(await caller(request), "changes")
        return page

    @get("/holders", opt={"permission": "audit:read"}, summary="List who could do something")
    async def holders(
        self,
        request: Req,
        action: FromQuery[Action],
        topic: FromQuery[str | None] = None,
        environment: FromQuery[Environment | None] = None,
        partner_id: PartnerFilter = None,
        integration_id: IntegrationFilter = None,
        as_of: AsOf = None,
        cursor: CursorParameter = None,
        limit: Limit = 50,
    ) -> ListEnvelope[HolderView]:
        """The keys that a verification would have found valid for this, by their own rules, those of the keys above
        them and what their integrations offered, all as they were at that moment. Keys that are bound to networks could
        from there. A page can be shorter than its `limit`; what counts is whether it has a `nextCursor`."""
        demand_ids(partnerId=partner_id, integrationId=integration_id)
        filters = KeyFilter(environment=environment, partner_id=partner_id, integration_id=integration_id)
        at = await moment_of(request, as_of) or await present(request)
        page = await held(request, action, topic, filters, at, cursor=cursor, limit=limit)
        services(request).readings.note(await caller(request), "holders")
        return page


async def changed(
    request: Req, since: str, until: str | None, filters: Filters, cursor: str | None, limit: int
) -> ListEnvelope[ChangeView]:
    """A page of what changed between two moments, as far as the caller sees it."""
    by, of = await caller(request), services(request)
    begin, end = await _stretch(request, since, until)
    page = await of.past.changes(
        by.workspace_id,
        {**filters, **bounds_on(FIELDS, by, filters)},
        after=begin.position,
        until=end.position,
        cursor=_position(cursor),
        limit=limit,
    )
    views = [
        change_of(each.aggregate, each.before, each.after, each.events, since=begin, until=end) for each in page.items
    ]
    return ListEnvelope(views, page.next_cursor)


async def held(
    request: Req, action: Action, topic: str | None, filters: KeyFilter, at: Moment, **page: Any
) -> ListEnvelope[HolderView]:
    """A page of the keys that could do this at a moment, with what covered the topic. `page` has cursor and limit."""
    asked = question(action, topic) or Question(action, topic)
    found = await permitted(request, asked, filters, status=None, min_position=None, at=at, **page)
    return ListEnvelope([_holder(each, action, topic, at) for each in found.items], found.next_cursor)


async def _stretch(request: Req, since: str, until: str | None) -> tuple[Moment, Moment]:
    begin = await moment(request, since, "?from")
    end = await present(request) if until is None else await moment(request, until, "?to")
    if begin.position > end.position:
        raise Invalid("This stretch ends before it begins.", ("?to", "It comes before `from`."))
    return begin, end


def _holder(key: Key, action: Action, topic: str | None, at: Moment) -> HolderView:
    rule = key.document.rule
    pattern = rule.pattern_for(action, topic) if rule is not None and topic is not None else None
    return HolderView(pattern=pattern, **key_fields(key, at.time))


def _position(cursor: str | None) -> int | None:
    if cursor is not None and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid("This is no cursor of this list.", ("?cursor", "Send `nextCursor` as it was given."))
    return None if cursor is None else int(cursor)

"""The audit trail: who, what, on what, when, from where, by which request."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, get
from litestar.params import FromQuery, QueryParameter

from keyfold.app.access import FIELDS, Caller
from keyfold.app.views import View
from keyfold.domain.record import Actor
from keyfold.domain.refusals import Invalid
from keyfold.store.lists import Audited
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import (
    LAST_POSITION,
    ONE_LINE,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    MinPosition,
    PartnerFilter,
    bounds_on,
    utc,
)

_OF_ENVIRONMENTS = (
    "EXISTS (SELECT FROM projections.keys WHERE keys.id = audit.key_id AND keys.environment = ANY ($?::text[]))"
)


class AuditView(View, frozen=True, kw_only=True):
    """One lifecycle event, at its place in the log. `data` has no secrets: there are none in the log."""

    position: int
    id: str
    type: str
    stream: str
    version: int
    time: datetime
    actor: Actor
    correlation_id: str
    causation_id: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: Audited) -> "AuditView":
        record = entry.record
        return cls(
            position=entry.position,
            id=record.id,
            type=record.type,
            stream=record.stream,
            version=record.version,
            time=record.time,
            actor=record.actor,
            correlation_id=record.correlation_id,
            causation_id=record.causation_id,
            data=msgspec.json.decode(record.data),
        )


class AuditController(Controller):
    path = "/audit"
    tags = ("Audit",)

    @get("/events", opt={"permission": "audit:read"}, summary="Read the audit trail")
    async def events(
        self,
        request: Request[Any, Any, Any],
        partner_id: PartnerFilter = None,
        key_id: Annotated[str | None, QueryParameter(name="keyId", pattern=ONE_LINE)] = None,
        integration_id: IntegrationFilter = None,
        actor_id: Annotated[str | None, QueryParameter(name="actorId", pattern=ONE_LINE)] = None,
        correlation_id: Annotated[str | None, QueryParameter(name="correlationId", pattern=ONE_LINE)] = None,
        type_: Annotated[
            str | None, QueryParameter(name="type", pattern=ONE_LINE, description="Such as `key.revoked.v1`.")
        ] = None,
        since: FromQuery[datetime | None] = None,
        until: FromQuery[datetime | None] = None,
        after_position: Annotated[int | None, QueryParameter(name="afterPosition", ge=0, le=LAST_POSITION)] = None,
        before_position: Annotated[int | None, QueryParameter(name="beforePosition", ge=0, le=LAST_POSITION)] = None,
        order: FromQuery[Literal["asc", "desc"]] = "desc",
        cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before.")] = None,
        min_position: MinPosition = None,
        limit: Limit = 50,
    ) -> ListEnvelope[AuditView]:
        """Newest first, or `order=asc` for the story as it went. `since` is included, `until` isn't.

        A key that is narrowed is shown what happened to the things that it is narrowed to, and nothing else.
        """
        by, of = await caller(request), services(request)
        bound = {"integration_id = $?": integration_id, "partner_id = $?": partner_id}
        if min_position:
            for projection in ("audit", "current") if "environment" in by.bounds() else ("audit",):
                await of.lists.include(projection, min_position)
        filters = {
            **bound,
            **within_trail(by, bound),
            "key_id = $?": key_id,
            "actor_id = $?": actor_id,
            "correlation_id = $?": correlation_id,
            "type = $?": type_,
            "time >= $?": utc("?since", since),
            "time < $?": utc("?until", until),
            "position > $?": after_position,
            "position < $? ": before_position,
        }
        page = await of.lists.audit(
            by.workspace_id, filters, ascending=order == "asc", cursor=_position(cursor), limit=limit
        )
        return ListEnvelope([AuditView.of(each) for each in page.items], page.next_cursor)


def within_trail(by: Caller, filters: Mapping[str, object]) -> dict[str, object]:
    """What keeps the trail within what the caller sees. Raises `NotFound` for a filter that asks for more.

    What isn't bound to what the caller is narrowed to, such as a role or an account key, isn't shown to it.
    """
    bounds = bounds_on({what: FIELDS[what] for what in ("integration", "partner")}, by, filters)
    environments = by.bounds().get("environment")
    return bounds if environments is None else {**bounds, _OF_ENVIRONMENTS: [*environments]}


def _position(cursor: str | None) -> int | None:
    if cursor is not None and not (cursor.isdecimal() and len(cursor) < 19):
        raise Invalid("This is no cursor of this list.", ("?cursor", "Send `nextCursor` as it was given."))
    return None if cursor is None else int(cursor)

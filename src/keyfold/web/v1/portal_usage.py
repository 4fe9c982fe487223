"""Usage and history at the portal: how the partner's keys are used for events, and what has happened to it."""

from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromQuery, QueryParameter

from keyfold.app.portal import Home
from keyfold.app.usage_report import EventUsageView, Resolution, Total, span
from keyfold.app.views import View
from keyfold.domain.permissions import Environment
from keyfold.domain.record import Actor
from keyfold.store.lists import Audited
from keyfold.store.trail_filter import TrailFilter
from keyfold.web.auth import SESSION, home, portal_cause, services
from keyfold.web.v1.common import ONE_LINE, Envelope, Limit, ListEnvelope, MinPosition, secret, utc
from keyfold.web.v1.event_usage import From, To
from keyfold.web.v1.trail import conditions, position, trail_filter

Req = Request[Any, Any, Any]
KeyFilter = Annotated[str | None, QueryParameter(name="keyId", pattern=ONE_LINE)]


class PortalUsageView(EventUsageView, frozen=True, kw_only=True):
    """All keys together, and by `byKey` the totals of each that was used."""

    by_key: dict[str, dict[str, Total]]


class DoerView(View, frozen=True, kw_only=True):
    """Who it was: `you`, the partner itself, by a key or a session of its own; somebody of the `workspace`, who isn't
    named; or `keyfold`, by the rule that is its `id`."""

    who: Literal["you", "workspace", "keyfold"]
    kind: str
    id: str | None
    address: str | None

    @classmethod
    def of(cls, actor: Actor, keys: Collection[str]) -> "DoerView":
        if actor.kind == "portal" or (actor.kind == "key" and actor.id in keys):
            return cls(who="you", kind=actor.kind, id=actor.id, address=actor.address)
        if actor.kind == "system":
            return cls(who="keyfold", kind=actor.kind, id=actor.id, address=None)
        return cls(who="workspace", kind=actor.kind, id=None, address=None)


class HappenedView(View, frozen=True, kw_only=True):
    """One thing that happened to the partner: to its keys, links or sessions, or to itself. `resource` is which."""

    position: int
    id: str
    time: datetime
    type: str
    resource: str
    actor: DoerView
    data: dict[str, Any]

    @classmethod
    def of(cls, entry: Audited, keys: Collection[str]) -> "HappenedView":
        record = entry.record
        return cls(
            position=entry.position,
            id=record.id,
            time=record.time,
            type=record.type,
            resource=record.stream,
            actor=DoerView.of(record.actor, keys),
            data=msgspec.json.decode(record.data),
        )


async def history_filter(
    key_id: KeyFilter = None,
    type_: Annotated[
        str | None,
        QueryParameter(
            name="type", pattern=ONE_LINE, description="`key.revoked`, all that begins with `key.`; several."
        ),
    ] = None,
    since: FromQuery[datetime | None] = None,
    until: Annotated[str | None, QueryParameter(pattern=ONE_LINE, description="A time, which isn't included.")] = None,
) -> TrailFilter:
    """What was asked for. Raises `Invalid`."""
    return await trail_filter(key_id=key_id, type_=type_, since=since, until=until)


class PortalUsageController(Controller):
    path = "/portal"
    tags = ("Portal",)
    dependencies = {"wanted": Provide(history_filter)}  # noqa: RUF012  # as Litestar has it

    @get("/usage", opt={"permission": SESSION}, summary="Read usage at the portal")
    async def usage(
        self,
        request: Req,
        since: From = None,
        to: To = None,
        resolution: FromQuery[Resolution] = "hour",
        key_id: KeyFilter = None,
        environment: FromQuery[Environment | None] = None,
    ) -> Response[Envelope[PortalUsageView]]:
        """Events and bytes by step and outcome, in UTC: published, delivered, refused and why, and how long they took;
        of all keys together, of an environment's, or of one. Some seconds old."""
        of, at = services(request), home(request)
        keys = await _keys(request, at, key_id, environment)
        asked = span(utc("?from", since), utc("?to", to), resolution, of.clock())
        whole = await of.event_usage_store.report(keys, asked)
        by_key = await of.event_usage_store.by_key(keys, asked)
        fields = {name: getattr(whole, name) for name in EventUsageView.__struct_fields__}
        return secret(Response(Envelope(PortalUsageView(by_key=by_key, **fields))))

    @get("/history", opt={"permission": SESSION}, summary="Read history at the portal")
    async def history(
        self,
        request: Req,
        wanted: NamedDependency[TrailFilter],
        cursor: Annotated[str | None, QueryParameter(description="`nextCursor` of the page before.")] = None,
        min_position: MinPosition = None,
        limit: Limit = 50,
    ) -> Response[ListEnvelope[HappenedView]]:
        """Newest first. Who of the workspace did something, and from where, isn't told."""
        of, at = services(request), home(request)
        by = at.caller(portal_cause(request, at))
        filters = conditions(by, wanted)
        if min_position:
            await of.lists.include("audit", min_position)
        behind = None if cursor is None else position(cursor, "?cursor", "Send `nextCursor` as it was given.")
        page = await of.lists.audit(by.workspace_id, filters, ascending=False, cursor=behind, limit=limit)
        found = [HappenedView.of(each, {*at.partner.keys}) for each in page.items]
        return secret(Response(ListEnvelope(found, page.next_cursor)))


async def _keys(request: Req, at: Home, key_id: str | None, environment: Environment | None) -> list[str]:
    """Those that were asked for. Raises `NotFound` for one that isn't the partner's."""
    if key_id is not None:
        at.demand_key(key_id)
        return [key_id]
    if environment is None:
        return [*at.partner.keys]
    return [each.id for each in await services(request).portal.keys(at.partner) if each.environment == environment]

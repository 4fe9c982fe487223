"""The audit trail: searched, and each event with what led to it and what it led to."""

from datetime import datetime
from typing import Annotated, Literal, get_args

import msgspec
from litestar import get
from litestar.params import FromPath

from keyfold.domain.aggregates import EVENT_TYPES
from keyfold.domain.permissions import Environment
from keyfold.store.trail_filter import ActorKind, TrailFilter
from keyfold.web.console.asking import list_faults, listed_or_not, onward, read
from keyfold.web.console.key_names import names_of
from keyfold.web.console.keys import Text
from keyfold.web.console.listing import ROWS, Column, Listing, address_of, asked, span
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.proof_record import proved
from keyfold.web.texts import t
from keyfold.web.v1.audit import chain_of, entries
from keyfold.web.v1.common import LAST_POSITION
from keyfold.web.v1.trail import PERMISSION, AuditView, trail_filter

Position = Annotated[int, msgspec.Meta(ge=0, le=LAST_POSITION)]
_OFTEN = {"type", "actorKind", "since", "until", "after", "before", "at", "sort"}
_VERSION = 3
"""Characters of the version at the end of a type: `.v1`."""


class TrailAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The same that the API's trail can be asked for."""

    partner_id: Text | None = None
    key_id: Text | None = None
    integration_id: Text | None = None
    resource_id: Text | None = None
    environment: Environment | None = None
    actor_id: Text | None = None
    actor_kind: ActorKind | None = None
    address: Text | None = None
    correlation_id: Text | None = None
    causation_id: Text | None = None
    type_: Text | None = msgspec.field(default=None, name="type")
    since: datetime | None = None
    until: Text | None = None
    after_position: Position | None = None
    before_position: Position | None = None

    async def filter(self) -> TrailFilter:
        """Raises `Invalid`."""
        return await trail_filter(**{name: getattr(self, name) for name in self.__struct_fields__})


ABOUT = {each.encode_name for each in msgspec.structs.fields(TrailAsked)}


class Turned(msgspec.Struct, frozen=True, kw_only=True):
    """From where the list is read: `after` and `before` are positions at the edge of another page of it."""

    sort: Literal["position", "-position"] = "-position"
    after: Text | None = None
    before: Text | None = None


COLUMNS = (
    Column("audit.position", "position", numeric=True),
    Column("audit.what"),
    Column("audit.on"),
    Column("audit.who"),
    Column("audit.from"),
    Column("audit.when", "position"),
)


@get("/audit", opt={"permission": PERMISSION})
async def trail(request: Req) -> Page:
    this = await listed_or_not(request, COLUMNS, _listing(request))
    return page(
        request,
        "console/audit.html",
        status=this.status,
        listing=this,
        faults=list_faults(request, this),
        names=await names_of(request, [name for row in this.rows for name in (row.stream, row.actor.id)]),
        types=sorted({each[:-_VERSION] for each in EVENT_TYPES}),
        actors=[(each, t(f"audit.actorKind.{each}")) for each in get_args(ActorKind)],
        more=bool({*this.query} - _OFTEN),
    )


async def _listing(request: Req) -> Listing:
    """A page of the trail; of the pages before it only their last rows are known. Raises `Invalid`, `NotFound`."""
    query = asked(request)
    wanted, turned = await read(TrailAsked, query).filter(), read(Turned, query)
    backwards, ascending = turned.before is not None, turned.sort == "position"
    cursor = turned.before or turned.after
    these = await entries(request, wanted, ascending=ascending != backwards, cursor=cursor, limit=ROWS)
    rows = [*reversed(these.data)] if backwards else these.data
    more = these.next_cursor is not None
    this = onward(request, COLUMNS, rows, None, sort=turned.sort)
    place = {name: value for name, value in query.items() if name not in ("after", "before", "at")}

    def step(way: str, edge: AuditView) -> str:
        return address_of(this.path, {**place, way: str(edge.position)})

    return this._replace(
        position=span("audit.span", rows[0].position, rows[-1].position) if rows else "",
        newer=step("before", rows[0]) if rows and (more if backwards else turned.after is not None) else None,
        older=step("after", rows[-1]) if rows and (backwards or more) else None,
    )


@get("/audit/{event_id:str}", opt={"permission": PERMISSION})
async def event(request: Req, event_id: FromPath[str]) -> Page:
    """With its record as it stands in the log, and the proof that it is what was signed."""
    chain = await chain_of(request, event_id)
    data = msgspec.json.format(msgspec.json.encode(chain.data)).decode()
    told = [chain, *chain.causes, *chain.effects]
    return page(
        request,
        "console/audit_event.html",
        chain=chain,
        data=data,
        proved=await proved(request, chain.position),
        names=await names_of(request, [name for each in told for name in (each.stream, each.actor.id)]),
    )

"""The list of keys: everything that there is, filtered, sorted, now or at a moment."""

from datetime import datetime
from typing import Annotated, Any, get_args

import msgspec
from litestar import get

from keyfold.app.bulk import NEEDS, BulkAction
from keyfold.app.views import KeyView
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_document import TAG_LENGTH
from keyfold.domain.key_events import KeyKind
from keyfold.domain.key_state import KeyStatus
from keyfold.domain.limits import NAME_LENGTH
from keyfold.domain.permissions import Environment
from keyfold.domain.rule import EVENT_ACTIONS, Action
from keyfold.store.key_filter import LONGEST_DAYS, KeyFilter
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import list_faults, listed_or_not, onward, read
from keyfold.web.console.key_names import names_of
from keyfold.web.console.listing import ROWS, Column, Listing, asked, listing
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.past import moment_asked
from keyfold.web.texts import t
from keyfold.web.v1.common import ONE_LINE, utc
from keyfold.web.v1.key_search import question
from keyfold.web.v1.keys import found, with_usage

Text = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH, pattern=ONE_LINE)]
Days = Annotated[int, msgspec.Meta(ge=1, le=LONGEST_DAYS)]
PRESETS = {
    "expiring": {"expiresWithinDays": "30", "sort": "expires"},
    "due": {"rotationDueWithinDays": "14"},
    "idle": {"idleDays": "90"},
    "wide": {"overWideDays": "90"},
    "suspended": {"status": "suspended"},
    "prod": {"environment": "prod", "status": "active"},
}
"""Filters that everybody has."""


class KeysAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that the list can be asked for."""

    status: KeyStatus | None = None
    kind: KeyKind | None = None
    environment: Environment | None = None
    integration_id: Text | None = None
    partner_id: Text | None = None
    parent_id: Text | None = None
    tag: Annotated[str, msgspec.Meta(max_length=TAG_LENGTH, pattern=ONE_LINE)] | None = None
    role: Text | None = None
    q: Text | None = None
    issued_before: datetime | None = None
    expires_within_days: Days | None = None
    rotation_due_within_days: Days | None = None
    idle_days: Days | None = None
    over_wide_days: Days | None = None
    action: Action | None = None
    topic: Text | None = None
    as_of: Text | None = None
    after: Text | None = None

    def key_filter(self) -> KeyFilter:
        """Raises `Invalid`."""
        given = {name: getattr(self, name) for name in KeyFilter.__struct_fields__}
        return KeyFilter(**given | {"issued_before": utc("?issuedBefore", self.issued_before)})

    @property
    def is_current(self) -> bool:
        """Whether the list knows the answer, now; or else each key is judged, or was."""
        return self.action is None and self.topic is None and self.as_of is None


COLUMNS = (
    Column("keys.name", "name"),
    Column("keys.status", "status"),
    Column("keys.environment", "environment"),
    Column("keys.partner", "whose"),
    Column("keys.issued", "issued", minor=True),
    Column("keys.expires", "expires"),
    Column("keys.used", "used"),
)
_MORE = {each.encode_name for each in msgspec.structs.fields(KeysAsked)} - {
    "q",
    "status",
    "environment",
    "kind",
    "after",
}
"""What only few look for."""
_JUDGED = {"action", "topic", "asOf"}
"""What the list doesn't know by itself: each key is judged for it."""


@get("/keys", opt={"permission": "keys:read"})
async def keys(request: Req) -> Page:
    """Everything that the caller sees of them. Of the past, and of who may do something, newest first alone."""
    this = await listed_or_not(request, COLUMNS, _listing(request))
    by = await caller(request)
    acts = (
        this.refusal is None
        and not {*this.query} & _JUDGED
        and any(NEEDS[each] in by.permissions for each in get_args(BulkAction))
    )
    if acts:
        this = this._replace(columns=(Column("keys.tick"), *this.columns))
    return page(
        request,
        "console/keys.html",
        status=this.status,
        listing=this,
        faults=list_faults(request, this),
        names=await names_of(request, [view.partner_id or view.integration_id for view in this.rows]),
        presets=PRESETS,
        states=[(each, t(f"state.{each}")) for each in get_args(KeyStatus)],
        kinds=[(each, t(f"keys.kind.{each}")) for each in get_args(KeyKind)],
        actions=[(each, each) for each in EVENT_ACTIONS],
        more=bool({*this.query} & _MORE),
        acts=acts,
        at=None if this.refusal else await moment_asked(request),
    )


async def _listing(request: Req) -> Listing:
    wanted = read(KeysAsked, asked(request))
    return await (_current if wanted.is_current else _judged)(request, wanted)


async def _current(request: Req, wanted: KeysAsked) -> Listing:
    filters = wanted.key_filter().conditions(services(request).clock())
    this = await listing(request, KEY, KeyView.of, COLUMNS, filters, status=wanted.status)
    return this._replace(rows=await with_usage(request, this.rows))


async def _judged(request: Req, wanted: KeysAsked) -> Listing:
    about = question(wanted.action, wanted.topic)
    here: Any = {"status": wanted.status, "cursor": wanted.after, "min_position": None, "limit": ROWS}
    these = await found(request, wanted.key_filter(), about, wanted.as_of, **here)
    return onward(request, COLUMNS, these.data, these.next_cursor)

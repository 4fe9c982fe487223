"""What changed between two moments, field by field."""

from datetime import timedelta
from typing import Any, NamedTuple, get_args

import msgspec
from litestar import get

from keyfold.app.changes import ChangeView, Kind
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import list_faults, listed_or_not, onward, read
from keyfold.web.console.key_names import names_of
from keyfold.web.console.keys import Text
from keyfold.web.console.listing import ROWS, Listing, asked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.texts import t
from keyfold.web.v1.audit_history import THE_KEY, changed

SPANS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7), "month": timedelta(days=30)}


SHOWN = 5
"""Events of a change that are named, the last ones."""


class ChangesAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which stretch of the log, and of what in it; `until` left out is now."""

    since: Text | None = msgspec.field(default=None, name="from")
    until: Text | None = msgspec.field(default=None, name="to")
    kind: Kind | None = None
    partner_id: Text | None = None
    integration_id: Text | None = None
    key_id: Text | None = None
    after: Text | None = None


class Difference(NamedTuple):
    """A place that differs, and what was there before and after; None where there was nothing."""

    at: str
    before: Any
    after: Any


class Told(NamedTuple):
    """A change, with what differs spelled out."""

    change: ChangeView
    differences: list[Difference]

    @property
    def name(self) -> str:
        """What it is called by now, as far as it has a name."""
        return str(self.change.after.get("name") or self.change.after.get("appName") or "")


@get("/changes", opt={"permission": "audit:read"})
async def changes(request: Req) -> Page:
    """Nothing, until it is said since when."""
    this, now = await listed_or_not(request, (), _listing(request)), services(request).clock()
    spans = {name: f"{now - span:%Y-%m-%dT%H:%M:%SZ}" for name, span in SPANS.items()}
    kinds = [(each, t(f"kind.{each}")) for each in get_args(Kind)]
    names = await names_of(request, [each.actor.id for told in this.rows for each in told.change.events[-SHOWN:]])
    return page(
        request,
        "console/changes.html",
        status=this.status,
        listing=this,
        faults=list_faults(request, this),
        spans=spans,
        kinds=kinds,
        names=names,
        shown=SHOWN,
    )


async def _listing(request: Req) -> Listing:
    wanted = read(ChangesAsked, asked(request))
    if wanted.since is None:
        return onward(request, (), [], None)
    filters: dict[str, object] = {
        "integration_id = $?": wanted.integration_id,
        "partner_id = $?": wanted.partner_id,
        "aggregate = $?": wanted.kind,
        THE_KEY: wanted.key_id,
    }
    these = await changed(request, wanted.since, wanted.until, filters, wanted.after, ROWS // 2)  # each is long
    services(request).readings.note(await caller(request), "changes")
    return onward(request, (), [Told(each, _differences(each)) for each in these.data], these.next_cursor)


def _differences(of: ChangeView) -> list[Difference]:
    return [Difference(at, _within(of.before, at), _within(of.after, at)) for at in of.changed]


def _within(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) points at, None where there is nothing."""
    for name in pointer.split("/")[1:]:
        if not isinstance(document, dict):
            return None
        document = document.get(name.replace("~1", "/").replace("~0", "~"))
    return document

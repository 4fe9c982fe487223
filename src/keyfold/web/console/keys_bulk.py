"""One action on many keys, in three steps: what it is to be, what would come of it, and done."""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

import msgspec
from litestar import get, post

from keyfold.app.bulk import NEEDS, Bulk, BulkAction, BulkSummary, KeyOutcome, Order, demand_permission
from keyfold.app.rotation import Overlap
from keyfold.domain.ids import is_id
from keyfold.domain.policy import LONGEST_OVERLAP, OverlapStarts
from keyfold.domain.refusals import Invalid, Unavailable
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import failure, problem, read, tried
from keyfold.web.console.key_act import OVERLAPS
from keyfold.web.console.keys import KeysAsked
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.console.session import form
from keyfold.web.texts import t
from keyfold.web.v1.bulk import selected
from keyfold.web.v1.common import Reason

SHOWN = 200
"""Keys whose outcome is shown, the refused ones first; all of them where there is a secret to show."""
_NEVER = ("action", "topic", "asOf")
"""What a list can be searched by and a change can't: the present decides, key by key."""
ACTIONS: tuple[BulkAction, ...] = ("suspend", "reinstate", "rotate", "revoke")
"""The mildest first."""
Fields = dict[str, list[str]]


class BulkAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be done. `seen` names the keys of the dry run that it was decided on."""

    do: BulkAction
    reason: Reason | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] | None = None
    overlap_starts: OverlapStarts | None = None
    step: Literal["try", "do"] = "try"
    seen: str = ""

    def order(self, *, dry_run: bool) -> Order:
        """Raises `Invalid`."""
        ends = self.do in ("revoke", "suspend")
        if ends and self.reason is None:
            raise Invalid("Say why: the reason is kept with each key.", ("?reason", "This takes a reason."))
        rotates = self.do == "rotate"
        overlap = Overlap(self.overlap_seconds, self.overlap_starts) if rotates else Overlap()
        return Order(action=self.do, reason=(self.reason or "") if ends else "", overlap=overlap, dry_run=dry_run)


class Outcome(NamedTuple):
    """What came, or would come, of it. `moved`: other keys match than those that were seen."""

    asked: BulkAsked
    summary: BulkSummary
    keys: Sequence[KeyOutcome]
    seen: str
    moved: bool = False

    @property
    def would(self) -> int:
        return self.summary.matched - self.summary.unchanged - self.summary.refused


@get("/keys/bulk", opt={"permission": "keys:read"})
async def bulk_page(request: Req) -> Page:
    """The form. What it is about stands in the address: a filter of the list, or ids."""
    fields = {name: values for name in request.query_params if (values := request.query_params.getall(name))}
    bulk = await tried(request, _bulk(request, fields, Order(action="suspend", reason="-", dry_run=True)))
    matched = bulk.summary().matched if isinstance(bulk, Bulk) else 0
    return await _page(request, fields, bulk, matched=matched)


@post("/keys/bulk", status_code=200, opt={"permission": "keys:read"})
async def bulk_act(request: Req) -> Page:
    """Tries it, or does what was tried, as long as that is about the very same keys."""
    fields = await form(request)
    outcome = await tried(request, _outcome(request, fields))
    return await _page(request, fields, outcome)


async def _page(request: Req, fields: Fields, of: object, matched: int | None = None) -> Page:
    by = await caller(request)
    flat = {name: values[-1] for name, values in fields.items()}
    outcome = of if isinstance(of, Outcome) else None
    keys = outcome.keys if outcome else []
    has_secrets = any(each.successor is not msgspec.UNSET for each in keys)
    shown = keys if has_secrets else keys[:SHOWN]
    return page(
        request,
        "console/keys_bulk.html",
        status=failure(of),
        problem=problem(request, of),
        outcome=outcome,
        shown=shown,
        rest=len(outcome.keys) - len(shown) if outcome else 0,
        has_secrets=has_secrets,
        matched=matched,
        given=flat,
        about=[(name, each) for name, values in fields.items() for each in values if name in _ABOUT and each],
        doing=[(each, t(f"bulk.do.{each}")) for each in ACTIONS if NEEDS[each] in by.permissions],
        overlaps=OVERLAPS,
    )


async def _outcome(request: Req, fields: Fields) -> Outcome:
    asked = read(BulkAsked, {name: values[-1] for name, values in fields.items() if values[-1].strip()})
    demand_permission(await caller(request), asked.do)
    rehearsal = await _carried_out(await _bulk(request, fields, asked.order(dry_run=True)), asked)
    if asked.step == "try":
        return rehearsal
    if asked.seen != rehearsal.seen:
        return rehearsal._replace(moved=True)
    # those very keys, whatever begins to match from here on
    ids = [each.id for each in rehearsal.keys]
    bulk = await selected(request, asked.order(dry_run=False), {_ONE_OF: ids}, None)
    done = await _carried_out(bulk, asked)
    with suppress(Unavailable):  # the lists show it a moment later then
        await services(request).lists.include("current", bulk.position)
    return done


async def _bulk(request: Req, fields: Fields, order: Order) -> Bulk:
    """The keys that were ticked, or those that match the filter. Raises `Invalid`."""
    if ids := fields.get("id"):
        if others := [each for each in ids if not is_id("key", each)]:
            raise Invalid("This is no key.", ("?id", f"{others[0][:64]} isn't the id of one."))
        return await selected(request, order, {_ONE_OF: ids}, None)
    filters = {name: values[-1] for name, values in fields.items() if name in _ABOUT and values[-1].strip()}
    if refused := [name for name in _NEVER if name in filters]:
        raise Invalid(
            "Nothing is changed by such a list.", *[(f"?{name}", "Tick the keys instead.") for name in refused]
        )
    wanted = read(KeysAsked, filters)
    if not filters:
        raise Invalid("Say which keys.", ("?", "Filter the list by something, or tick keys: this would be every key."))
    return await selected(request, order, wanted.key_filter().conditions(services(request).clock()), wanted.status)


async def _carried_out(bulk: Bulk, asked: BulkAsked) -> Outcome:
    keys = [each async for each in bulk.outcomes()]
    seen = sha256("\n".join(sorted(each.id for each in keys)).encode()).hexdigest()
    ranked = sorted(keys, key=lambda each: (each.outcome != "refused", each.outcome == "unchanged", each.name))
    return Outcome(asked, bulk.summary(), ranked, seen)


_ONE_OF = "id = ANY ($?::text[])"
_ABOUT = {"id"} | {each.encode_name for each in msgspec.structs.fields(KeysAsked)} - {"sort", "cursor"}

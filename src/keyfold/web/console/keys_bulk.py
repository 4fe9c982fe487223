"""One action on many keys, in three steps: what it is to be, what would come of it, and done."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from litestar import Response, get, post
from litestar.response import Stream

from keyfold.app.bulk import NEEDS, Bulk, BulkAction, BulkSummary, KeyOutcome, Order, demand_permission
from keyfold.app.rotation import Overlap
from keyfold.domain.ids import is_id
from keyfold.domain.policy import LONGEST_OVERLAP, OverlapStarts
from keyfold.domain.refusals import Invalid, Refusal, Unavailable
from keyfold.web.auth import caller, services
from keyfold.web.console.asking import failure, problem, read, tried
from keyfold.web.console.bulk_once import packed, sending, unpacked, was_sent
from keyfold.web.console.faults import faults_of, labels
from keyfold.web.console.key_act import OVERLAPS
from keyfold.web.console.keys import KeysAsked
from keyfold.web.console.pages import Page, Req, new_once, page
from keyfold.web.console.session import form
from keyfold.web.texts import t
from keyfold.web.v1.bulk import NDJSON, selected
from keyfold.web.v1.common import Reason

SHOWN = 200
"""Keys whose outcome is shown, the refused ones first; all of them where there is a secret to show."""
_NEVER = ("action", "topic", "asOf")
"""What a list can be searched by and a change can't: the present decides, key by key."""
ACTIONS: tuple[BulkAction, ...] = ("suspend", "reinstate", "rotate", "revoke")
"""The mildest first."""
Fields = dict[str, list[str]]


class BulkAsked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be done. `seen` are the keys of the dry run that it was decided on, packed."""

    do: BulkAction
    reason: Reason | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] | None = None
    overlap_starts: OverlapStarts | None = None
    step: Literal["try", "do"] = "try"
    seen: str = ""
    once: str = ""

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
    moved: bool = False

    @property
    def seen(self) -> str:
        return packed(each.id for each in self.keys)

    @property
    def would(self) -> int:
        return self.summary.matched - self.summary.unchanged - self.summary.refused


class Progress(NamedTuple):
    """How far it is: with how many of the keys, of how many; first each is looked at, and then done."""

    step: Literal["look", "do"]
    at: int
    of: int


@get("/keys/bulk", opt={"permission": "keys:read"})
async def bulk_page(request: Req) -> Page:
    """The form. What it is about stands in the address: a filter of the list, or ids."""
    fields = {name: values for name in request.query_params if (values := request.query_params.getall(name))}
    bulk = await _tried_bulk(request, fields)
    return await _page(request, fields, bulk, matched=_matched(bulk))


@post("/keys/bulk", status_code=200, opt={"permission": "keys:read"})
async def bulk_act(request: Req) -> Response[Any]:
    """Tries it, or does what was tried, as long as that is about the very same keys; the same form again does nothing
    twice. As lines of JSON, where they are asked for, it says how far it is, and gives the page as the last one."""
    fields = await form(request)
    steps = _steps(request, fields)
    first = await anext(steps)  # what is refused is no stream yet
    if isinstance(first, Response):
        return first
    if NDJSON in request.headers.get("accept", ""):
        return Stream(_lines(first, steps), media_type=NDJSON, headers={"Cache-Control": "no-store"})
    *_, last = [each async for each in steps]
    return last if isinstance(last, Response) else await _page(request, fields, None)


async def _lines(first: Progress, rest: AsyncIterator[Progress | Page]) -> AsyncIterator[bytes]:
    yield _line(first)
    async for each in rest:
        yield _line(each)


def _line(this: Progress | Page) -> bytes:
    said = this._asdict() if isinstance(this, Progress) else {"page": this.content.decode()}
    return msgspec.json.encode(said) + b"\n"


async def _steps(request: Req, fields: Fields) -> AsyncIterator[Progress | Page]:
    """How far it is, and at the end the page that says what came of it."""
    outcome: Outcome | Refusal | None = None
    work = _work(request, fields)
    while not isinstance(outcome, (Outcome, Refusal)):
        step = await tried(request, anext(work))
        if isinstance(step, Progress):
            yield step
        else:
            outcome = step
    matched = None
    if isinstance(outcome, Refusal):  # the form again, with how many keys it is about
        matched = _matched(await _tried_bulk(request, fields))
    yield await _page(request, fields, outcome, matched=matched)


async def _tried_bulk(request: Req, fields: Fields) -> Bulk | Refusal:
    return await tried(request, _bulk(request, fields, Order(action="suspend", reason="-", dry_run=True)))


def _matched(bulk: Bulk | Refusal) -> int | None:
    """How many keys it is about, None where that can't be said."""
    return bulk.summary().matched if isinstance(bulk, Bulk) else None


async def _page(request: Req, fields: Fields, of: object, matched: int | None = None) -> Page:
    by = await caller(request)
    flat = {name: values[-1] for name, values in fields.items()}
    outcome = of if isinstance(of, Outcome) else None
    keys = outcome.keys if outcome else []
    has_secrets = any(each.successor is not msgspec.UNSET for each in keys)
    shown = keys if has_secrets else keys[:SHOWN]
    said = problem(request, of)
    return page(
        request,
        "console/keys_bulk.html",
        status=failure(of),
        problem=said,
        faults=faults_of(said.errors, labels("bulk")) if said else (),
        untold=isinstance(of, Refusal) and matched is None,
        outcome=outcome,
        shown=shown,
        rest=len(outcome.keys) - len(shown) if outcome else 0,
        has_secrets=has_secrets,
        matched=matched,
        given=flat,
        about=[(name, each) for name, values in fields.items() for each in values if name in _ABOUT and each],
        doing=[(each, t(f"bulk.do.{each}")) for each in ACTIONS if NEEDS[each] in by.permissions],
        overlaps=OVERLAPS,
        once=new_once(request),
    )


async def _work(request: Req, fields: Fields) -> AsyncIterator[Progress | Outcome]:
    """The outcome comes last."""
    asked = read(BulkAsked, {name: values[-1] for name, values in fields.items() if values[-1].strip()})
    demand_permission(await caller(request), asked.do)
    rehearsal = _carried_out(await _bulk(request, fields, asked.order(dry_run=True)), asked, "look")
    if asked.step == "try":
        async for each in rehearsal:
            yield each
        return
    this, keys = await sending(request, asked.once, asked.order(dry_run=False)), unpacked(asked.seen)
    async for each in rehearsal:
        if isinstance(each, Progress):
            yield each
        # others match as well once this very form has done its work, or is at it
        elif each.seen != asked.seen and not await was_sent(request, this, keys):
            yield each._replace(moved=True)
            return
    # those very keys, whatever begins to match from here on
    bulk = await selected(request, asked.order(dry_run=False), {_ONE_OF: keys}, None, by=this.by, replay=this.replay)
    async for each in _carried_out(bulk, asked, "do"):
        if isinstance(each, Outcome):
            with suppress(Unavailable):  # the lists show it a moment later then
                await services(request).lists.include("current", bulk.position)
        yield each


async def _bulk(request: Req, fields: Fields, order: Order) -> Bulk:
    """The keys that were ticked, or those that match the filter. Raises `Invalid`."""
    if ids := fields.get("id"):
        if others := [each for each in ids if not is_id("key", each)]:
            raise Invalid("That isn't a key.", ("?id", f"{others[0][:64]} isn't the id of a key."))
        return await selected(request, order, {_ONE_OF: ids}, None)
    filters = {name: values[-1] for name, values in fields.items() if name in _ABOUT and values[-1].strip()}
    if refused := [name for name in _NEVER if name in filters]:
        raise Invalid(
            "The result of such a search can't be changed as a whole.",
            *[(f"?{name}", "Tick the keys in the list instead.") for name in refused],
        )
    wanted = read(KeysAsked, filters)
    if not filters:
        hint = "Tick keys in the list, or filter it and change all that match: without either, this would be every key."
        raise Invalid("No key is ticked.", ("?", hint))
    return await selected(request, order, wanted.key_filter().conditions(services(request).clock()), wanted.status)


async def _carried_out(bulk: Bulk, asked: BulkAsked, step: Literal["look", "do"]) -> AsyncIterator[Progress | Outcome]:
    """The outcome comes last; how far it is at the beginning, and at each hundredth of the way."""
    keys: list[KeyOutcome] = []
    matched = bulk.summary().matched
    yield Progress(step, 0, matched)
    async for each in bulk.outcomes():
        keys.append(each)
        if len(keys) % max(1, matched // 100) == 0:
            yield Progress(step, len(keys), matched)
    ranked = sorted(keys, key=lambda each: (each.outcome != "refused", each.outcome == "unchanged", each.name))
    yield Outcome(asked, bulk.summary(), ranked)


_ONE_OF = "id = ANY ($?::text[])"
_ABOUT = {"id"} | {each.encode_name for each in msgspec.structs.fields(KeysAsked)} - {"sort", "cursor"}

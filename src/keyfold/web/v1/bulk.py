"""One action on all keys that match a filter."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import JSONBody
from litestar.response import Stream

from keyfold.app.access import Caller
from keyfold.app.bulk import MOST, Bulk, BulkAction, BulkSummary, KeyOutcome, Order, Replaying, demand_permission
from keyfold.app.rotation import Overlap
from keyfold.app.views import View
from keyfold.domain.aggregates import KEY
from keyfold.domain.key_events import KeyKind
from keyfold.domain.key_state import KeyStatus
from keyfold.domain.limits import NAME_LENGTH
from keyfold.domain.permissions import Environment
from keyfold.domain.policy import LONGEST_OVERLAP, OverlapStarts
from keyfold.domain.record import encode
from keyfold.domain.refusals import Invalid
from keyfold.store.key_filter import LONGEST_DAYS, KeyFilter
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import ONE_LINE, POSITION, Body, Envelope, Reason, secret, utc, within_bounds
from keyfold.web.v1.key_bodies import Tag

Req = Request[Any, Any, Any]
NDJSON = "application/x-ndjson"
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=ONE_LINE)]


class BulkFilter(Body, frozen=True, kw_only=True):
    """All that is given must hold, and something must be. `q` is part of the name, `idleDays` how long a key that
    hasn't ended went unused."""

    partner_id: Id | None = None
    integration_id: Id | None = None
    parent_id: Id | None = None
    environment: Environment | None = None
    tag: Tag | None = None
    issued_before: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    status: KeyStatus | None = None
    kind: KeyKind | None = None
    q: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_LENGTH, pattern=ONE_LINE)] | None = None
    idle_days: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_DAYS)] | None = None

    def key_filter(self) -> KeyFilter:
        """Raises `Invalid` for a filter that every key would match."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        if all(value is None for value in given.values()):
            raise Invalid("Say which keys.", ("/filter", "Give one condition at least: none would be every key."))
        del given["status"]  # which is asked of the lists by the clock
        return KeyFilter(**given | {"issued_before": utc("/filter/issuedBefore", self.issued_before)})


class BulkBody(Body, frozen=True, kw_only=True):
    """`reason` is for what revokes or suspends, the overlap for what rotates. A dry run says what would be done."""

    action: BulkAction
    filter: BulkFilter
    reason: Reason | None = None
    overlap_seconds: Annotated[int, msgspec.Meta(ge=0, le=int(LONGEST_OVERLAP.total_seconds()))] | None = None
    overlap_starts: OverlapStarts | None = None
    dry_run: bool = False

    def order(self) -> Order:
        """Raises `Invalid` for what the action needs and lacks, or has and doesn't take."""
        ends, rotates = self.action in ("revoke", "suspend"), self.action == "rotate"
        wrong = [("/reason", f"To {self.action} takes a reason.")] if ends and self.reason is None else []
        for name, given, taken in (
            ("reason", self.reason, ends),
            ("overlapSeconds", self.overlap_seconds, rotates),
            ("overlapStarts", self.overlap_starts, rotates),
        ):
            if given is not None and not taken:
                wrong.append((f"/{name}", f"To {self.action} doesn't take this. Leave it out."))
        if wrong:
            raise Invalid("This doesn't go with the action.", *wrong)
        overlap = Overlap(self.overlap_seconds, self.overlap_starts)
        return Order(action=self.action, reason=self.reason or "", overlap=overlap, dry_run=self.dry_run)


class BulkView(BulkSummary, frozen=True, kw_only=True):
    keys: list[KeyOutcome]


class BulkBeginning(View, frozen=True, kw_only=True):
    """The first line of a stream."""

    matched: int
    correlation_id: str


class BulkEnd(BulkSummary, frozen=True, kw_only=True):
    """The last line of a stream, with the position that its headers came too early for."""

    position: int


class BulkController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post(
        "/bulk",
        status_code=200,
        opt={"permission": "keys:read", "also": {NDJSON: {"schema": {"type": "string"}}}},
        summary="Change many keys",
    )
    async def bulk(self, request: Req, data: JSONBody[BulkBody]) -> Response[Envelope[BulkView]]:
        """Revokes, suspends, reinstates or rotates every key that matches the filter, which also takes the permission
        of that: `keys:revoke`, `keys:suspend` or `keys:rotate`. Each key is decided by itself, all under one
        correlation id: one that is refused, with its `code`, doesn't stop the others. 10,000 at the most.

        With `Accept: application/x-ndjson` the answer comes line by line as it happens: first `matched`, then each key,
        and the summary last. Whoever hangs up stops it; what is done by then stays done. What a rotation issues has its
        `secret` shown this once."""
        by = await caller(request)
        demand_permission(by, data.action)
        order = data.order()
        filters = data.filter.key_filter().conditions(services(request).clock())
        bulk = await selected(request, order, filters, data.filter.status)
        if NDJSON in request.headers.get("accept", ""):
            return secret(Stream(_lines(bulk), media_type=NDJSON))
        keys = [each async for each in bulk.outcomes()]
        summed = {name: getattr(bulk.summary(), name) for name in BulkSummary.__struct_fields__}
        headers = {POSITION: str(bulk.position)}
        return secret(Response(Envelope(BulkView(keys=keys, **summed)), headers=headers))


async def selected(
    request: Req,
    order: Order,
    filters: dict[str, object],
    status: KeyStatus | None,
    *,
    by: Caller | None = None,
    replay: Replaying | None = None,
) -> Bulk:
    """The keys that match by now, whatever was written before; `by` is who asks where that isn't just the request's
    caller. Raises `Invalid` when there are too many."""
    by, of = by or await caller(request), services(request)
    within = filters | within_bounds(by, KEY, filters)
    head = await of.journal.head()
    await of.lists.include("current", head)
    keys, matched = await of.lists.chosen(by.workspace_id, within, status=status, now=of.clock(), most=MOST)
    if matched > MOST:
        raise Invalid(
            f"{matched} keys match. One call takes {MOST}.", ("/filter", "Narrow it, and call once for each.")
        )
    return Bulk(of.office, by, order, keys, position=head, replay=replay)


async def _lines(bulk: Bulk) -> AsyncIterator[bytes]:
    summary = bulk.summary()
    yield _line(BulkBeginning(matched=summary.matched, correlation_id=summary.correlation_id))
    async for each in bulk.outcomes():
        yield _line(each)
    summed = {name: getattr(bulk.summary(), name) for name in BulkSummary.__struct_fields__}
    yield _line(BulkEnd(position=bulk.position, **summed))


def _line(view: View) -> bytes:
    return encode(view) + b"\n"

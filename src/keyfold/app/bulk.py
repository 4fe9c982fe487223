"""One action on many keys: a command of its own for each, some at a time, whatever becomes of the others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, assert_never

import msgspec

from keyfold.app.access import Caller
from keyfold.app.key_life import KeyLife
from keyfold.app.rehearsal import Rehearsal
from keyfold.app.rotation import Overlap, Rotation
from keyfold.app.vault import ReplayKey
from keyfold.app.views import RotationView, View
from keyfold.app.work import Answer, Office
from keyfold.domain.key import AlreadyRotated
from keyfold.domain.permissions import Permission
from keyfold.domain.refusals import Forbidden, Refusal

BulkAction = Literal["revoke", "suspend", "reinstate", "rotate"]
Replaying = Callable[[str], ReplayKey]
Result = Literal["done", "would", "unchanged", "refused"]

_replace = msgspec.structs.replace
MOST = 10_000
"""Keys of one call."""
AT_ONCE = 16

NEEDS: dict[BulkAction, Permission] = {
    "revoke": "keys:revoke",
    "suspend": "keys:suspend",
    "reinstate": "keys:suspend",
    "rotate": "keys:rotate",
}
_UNDER_WAY: set[asyncio.Task[Any]] = set()
"""Commands, each of which finishes even when nobody waits for it any more; asyncio itself would not keep it."""


async def settled() -> None:
    """When every command that is under way has finished."""
    await asyncio.gather(*_UNDER_WAY, return_exceptions=True)


class Chosen(NamedTuple):
    """A key that the action is for, with what it may share with others of them."""

    id: str
    name: str
    partner_id: str | None
    parent_id: str | None
    role: str | None
    rotated: bool


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with each key. In a dry run each is decided as things are, and nothing is written."""

    action: BulkAction
    reason: str = ""
    overlap: Overlap = Overlap()
    dry_run: bool = False


class KeyOutcome(View, frozen=True, kw_only=True, omit_defaults=True):
    """What came of one key: `code` is why it was refused, `successor` what a rotation issued, with its secret."""

    id: str
    name: str
    outcome: Result
    code: str | msgspec.UnsetType = msgspec.UNSET
    successor: RotationView | msgspec.UnsetType = msgspec.UNSET


class BulkSummary(View, frozen=True, kw_only=True):
    """How many keys matched, and what came of them. Those that a dry run finds neither unchanged nor refused would be
    done."""

    matched: int
    done: int
    unchanged: int
    refused: int
    correlation_id: str
    dry_run: bool


class Bulk:
    """One call. `outcomes` carries it out; `position` is that at which lists include what was done so far.

    With `replay`, which says under what the answer of a key is kept, a call that is made twice does with each key what
    it hasn't done before, and gives for the others what came of them then, secrets of rotations included.
    """

    def __init__(
        self,
        office: Office,
        caller: Caller,
        order: Order,
        keys: Sequence[Chosen],
        *,
        position: int = 0,
        replay: Replaying | None = None,
    ) -> None:
        self.position = position
        self._replay = replay
        self._office = office
        self._caller = caller
        self._order = order
        self._matched = len(keys)
        self._lanes = _lanes(order.action, keys)
        self._counts: dict[Result, int] = {"done": 0, "would": 0, "unchanged": 0, "refused": 0}

    async def outcomes(self) -> AsyncIterator[KeyOutcome]:
        """Each as it comes. Whoever stops asking for more lets what is under way finish, and no more begin."""
        lanes = self._lanes
        under_way: dict[asyncio.Task[KeyOutcome], list[Chosen]] = {}
        while lanes or under_way:
            while lanes and len(under_way) < AT_ONCE:
                lane = lanes.pop()
                task = asyncio.create_task(self._outcome(lane.pop()))
                _UNDER_WAY.add(task)
                task.add_done_callback(_UNDER_WAY.discard)
                under_way[task] = lane
            finished, _ = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for task in finished:
                if lane := under_way.pop(task):
                    lanes.append(lane)
            for task in finished:
                yield task.result()

    def summary(self) -> BulkSummary:
        return BulkSummary(
            matched=self._matched,
            done=self._counts["done"],
            unchanged=self._counts["unchanged"],
            refused=self._counts["refused"],
            correlation_id=self._caller.cause.correlation_id,
            dry_run=self._order.dry_run,
        )

    async def _outcome(self, key: Chosen) -> KeyOutcome:
        rotated = key.rotated and self._order.action == "rotate"
        # by itself it could be done, and would take back what this very call has issued
        refusal = AlreadyRotated("It has a successor. Rotate that one.") if rotated else None
        office = Rehearsal(self._office, writes=not self._order.dry_run, refusal=refusal)
        result: Result
        more: dict[str, Any] = {}
        try:
            answer = await self._carry_out(key, office)
        except Refusal as refusal:
            result, more = "refused", {"code": refusal.code}
        else:
            result = "done" if answer.replayed else self._result(office)
            self.position = max(self.position, answer.position)
            if result == "done" and isinstance(answer.view, RotationView):
                more = {"successor": answer.view}
        self._counts[result] += 1
        return KeyOutcome(id=key.id, name=key.name, outcome=result, **more)

    async def _carry_out(self, key: Chosen, office: Office) -> Answer[Any]:
        order, caller = self._order, self._caller
        if self._replay is not None and not order.dry_run:
            caller = _replace(caller, cause=_replace(caller.cause, replay=self._replay(key.id)))
        match order.action:
            case "revoke":
                return await KeyLife(office).revoke(caller, key.id, order.reason)
            case "suspend":
                return await KeyLife(office).suspend(caller, key.id, order.reason)
            case "reinstate":
                return await KeyLife(office).reinstate(caller, key.id)
            case "rotate":
                return await Rotation(office).rotate(caller, key.id, order.overlap)
            case _:
                assert_never(order.action)

    def _result(self, office: Rehearsal) -> Result:
        if not office.appends:
            return "unchanged"
        return "would" if self._order.dry_run else "done"


def demand_permission(caller: Caller, action: BulkAction) -> None:
    """Raises `Forbidden` for a caller who may not do this with one key either."""
    if NEEDS[action] not in caller.permissions:
        raise Forbidden.lacking(NEEDS[action])


def _lanes(action: BulkAction, keys: Sequence[Chosen]) -> list[list[Chosen]]:
    """The keys, newest first, in lanes that are done from their ends. Commands that move the same stream would only
    make each other start anew: those on a family's keys, on a partner's when they are rotated, and on all owners'."""
    chosen = {key.id: key for key in keys}
    lines = [_line(key, chosen) for key in reversed(keys)]
    # a child goes before its parent, which would take it along; but it comes back only when the parent is back
    lines.sort(key=len, reverse=action == "reinstate")
    lanes: dict[str, list[Chosen]] = {}
    for key, *above in lines:
        lane = above[-1].id if above else key.id
        if key.role == "owner":
            lane = "owners"
        elif action == "rotate":
            lane = key.partner_id or lane
        lanes.setdefault(lane, []).append(key)
    return list(lanes.values())


def _line(key: Chosen, chosen: Mapping[str, Chosen]) -> list[Chosen]:
    """The key with those that it was delegated by, as far as they are chosen too, the nearest first."""
    line = [key]
    while (parent := chosen.get(line[-1].parent_id or "")) is not None:
        line.append(parent)
    return line

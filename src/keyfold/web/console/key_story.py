"""A key's life as a line of moments: what its time slider can be dragged along."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from keyfold.domain.aggregates import KEY, fold
from keyfold.domain.key_state import KeyStatus
from keyfold.domain.record import Actor
from keyfold.store.past import Event

MOST = 200
"""Stops: of a longer life the last ones. The audit trail has all of it."""


class Stop(NamedTuple):
    """Something that happened, and the state that the key had from then on."""

    position: int
    time: datetime
    id: str
    type: str
    actor: Actor
    reason: str | None
    status: KeyStatus


def stops(story: list[Event]) -> list[Stop]:
    """Each event of the key's own stream, in order."""
    found, state = list[Stop](), None
    for position, record in story:
        state = fold(KEY, state, record)
        reason = msgspec.json.decode(record.data, type=_Reasoned).reason
        status = state.status_at(record.time)
        found.append(Stop(position, record.time, record.id, record.type, record.actor, reason, status))
    return found[-MOST:]


class _Reasoned(msgspec.Struct):
    reason: str | None = None

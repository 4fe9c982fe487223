"""The refused attempt: somebody came with a key and wasn't let in, and was told no more than that.

Each is a stream of its own and never changes. Those that are alike are counted together, so that whoever hammers fills
no log.
"""

from datetime import datetime
from typing import Literal

import msgspec

from keyfold.domain.record import Event

Road = Literal["nats", "http"]
UNUSABLE = frozenset({"suspended", "expired", "retired", "revoked", "compromised", "network-not-allowed"})
"""Codes of a verification that are worth an attempt: the key is no good, or not there. What it may do with events is
asked all the time."""


class AccessRefused(Event, frozen=True, kw_only=True):
    """`count` attempts with this key, refused for one reason from `since` to `until`; `address` is the last one's."""

    type = "access.refused.v1"
    personal = ("address",)

    attempt_id: str
    key_id: str
    integration_id: str | None = None
    partner_id: str | None = None
    code: str
    road: Road
    address: str | None = None
    count: int
    since: datetime
    until: datetime


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    code: str
    status: Literal["refused"] = "refused"


def evolve(state: Attempt | None, event: AccessRefused, at: datetime) -> Attempt:
    return Attempt(id=event.attempt_id, workspace_id=event.workspace_id, code=event.code)

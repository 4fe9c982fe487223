"""A change of many keys that is asked for by one form: of the very keys that were shown, and once, however often the
form is sent."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from keyfold.app.access import Caller
from keyfold.app.bulk import Order, Replaying
from keyfold.app.vault import ReplayKey
from keyfold.domain import ids
from keyfold.domain.refusals import Invalid
from keyfold.web.auth import caller, services
from keyfold.web.console.pages import Req

_BYTES = 16
"""Of an id: ten thousand of them find room in a form."""


def packed(keys: Iterable[str]) -> str:
    """Ids of keys as one text, the same whatever their order."""
    return urlsafe_b64encode(b"".join(sorted(map(ids.uuid_of, keys)))).decode()


def unpacked(text: str) -> list[str]:
    """Raises `Invalid`."""
    try:
        them = urlsafe_b64decode(text.encode())
    except (Error, UnicodeError):
        them = b"?"
    keys = [ids.id_of("key", them[at : at + _BYTES]) for at in range(0, len(them), _BYTES)]
    if len(them) % _BYTES or not all(ids.is_id("key", each) for each in keys):
        raise Invalid("This form is incomplete. Load the page again.")
    return keys


class Sending(NamedTuple):
    """Who sends a form, whose `once` all that it does is correlated by; and under what the answers are kept."""

    by: Caller
    replay: Replaying


async def sending(request: Req, once: str, order: Order) -> Sending:
    """Raises `Invalid` for a form that carries no `once`."""
    if not ids.is_id("req", once):
        raise Invalid("This form is incomplete. Load the page again.")
    by, vault = await caller(request), services(request).vault
    said = msgspec.json.encode(order)

    def replay(key_id: str) -> ReplayKey:
        return vault.replay_key(once, f"{by.cause.actor.id} bulk {key_id}", said)

    cause = msgspec.structs.replace(by.cause, correlation_id=once)
    return Sending(msgspec.structs.replace(by, cause=cause), replay)


async def was_sent(request: Req, this: Sending, keys: Iterable[str]) -> bool:
    """Whether the same form has already done something with one of these."""
    return await services(request).journal.has_replayed([this.replay(each).id for each in keys])

"""What time brings to a key: announcements of its expiry and of rotations that are due, and the ends themselves."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from keyfold.domain.key_events import (
    AnyKeyEvent,
    KeyChanged,
    KeyExpired,
    KeyExpiring,
    KeyIssued,
    KeyRetired,
    KeyRetiring,
    KeyRotated,
    KeyRotationDue,
)
from keyfold.domain.key_state import Key

Item = tuple[datetime, AnyKeyEvent]

SET_BY: dict[type[AnyKeyEvent], tuple[str, ...]] = {
    KeyExpiring: (KeyIssued.type, KeyChanged.type),
    KeyExpired: (KeyIssued.type, KeyChanged.type),
    KeyRotationDue: (KeyIssued.type,),
    KeyRetired: (KeyRotated.type, KeyRetiring.type),
}
"""What says when each of them is due: the newest such event of the key."""


def due(key: Key, now: datetime) -> list[AnyKeyEvent]:
    """What is to be written down by now, once each: of several announcements that are late, the nearest alone."""
    late: dict[type[AnyKeyEvent], AnyKeyEvent] = {type(event): event for at, event in agenda(key) if at <= now}
    for end in (KeyExpired, KeyRetired):
        if end in late:
            return [late[end]]
    return [*late.values()]


def due_at(key: Key) -> datetime | None:
    """When something is due next."""
    return min((at for at, _ in agenda(key)), default=None)


def agenda(key: Key) -> list[Item]:
    """All that time will bring, if nothing else happens, in order; nothing comes after an end."""
    if key.status not in ("active", "suspended"):
        return []
    items = (item for item in _items(key) if key.ends_at is None or item[0] <= key.ends_at)
    return sorted(items, key=lambda item: item[0])


def _items(key: Key) -> Iterator[Item]:
    this: dict[str, Any] = {
        "workspace_id": key.workspace_id,
        "key_id": key.id,
        "integration_id": key.integration_id,
        "partner_id": key.partner_id,
    }
    if key.retires_at is not None:
        yield key.retires_at, KeyRetired(**this)
    if key.expires_at is not None:
        yield key.expires_at, KeyExpired(expires_at=key.expires_at, **this)
        for days, at in _leads(key, "expiring", key.expires_at):
            yield at, KeyExpiring(days=days, expires_at=key.expires_at, **this)
    rotation = key.upkeep.rotation_due_at
    if rotation is not None and key.succession is None:
        for days, at in _leads(key, "rotation-due", rotation, at_last=True):
            yield at, KeyRotationDue(days=days, due_at=rotation, **this)


def _leads(key: Key, what: str, moment: datetime, *, at_last: bool = False) -> Iterator[tuple[int, datetime]]:
    """Leads that are still to come: none from before the key's birth, nor from behind one that was announced."""
    said = [int(each.rpartition(" ")[2]) for each in key.announced if each.startswith(f"{what} ")]
    for days in {*key.upkeep.lead_days, *([0] if at_last else [])}:
        at = moment - timedelta(days=days)
        if at > key.issued_at and days < min(said, default=1000):
            yield days, at

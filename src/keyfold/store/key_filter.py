"""What keys can be looked for by, as conditions on the projection."""

from datetime import datetime, timedelta

import msgspec

from keyfold.domain.key_events import KeyKind
from keyfold.domain.permissions import Environment
from keyfold.store.lists import BEGUN, LIVE

LONGEST_DAYS = 3660
"""About ten years: as long as any period of a policy."""

_LASTS = f"status IN ('active', 'suspended') AND {LIVE}".replace("$now", "$?")
_USABLE = f"kind = 'service' AND {BEGUN}".replace("$now", "$?")
_DUE = "NOT rotated AND rotation_due_at <= $?"
_USED_SINCE = "SELECT FROM keyfold.key_usage WHERE key_id = keys.id AND outcome = 'valid' AND last_at > $?"
_IDLE = f"issued_at <= $? AND NOT EXISTS ({_USED_SINCE})"
_OVER_WIDE = (
    "kind = 'service' AND issued_at <= $? AND EXISTS ("
    "SELECT FROM (VALUES ('send'), ('receive')) AS events (name) "
    "WHERE (state #> '{document,rule,permitted}')::jsonb @> to_jsonb(name) "
    f"AND NOT EXISTS ({_USED_SINCE} AND action = name))"
)


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All of it must hold; what is None says nothing. `q` is part of the name, whatever its case.

    The four that count days find keys that haven't ended. Idle ones weren't found valid for so long, over-wide ones not
    for sending or not for receiving, which they are permitted: each although it was issued before that. A rotation that
    is overdue is due.
    """

    kind: KeyKind | None = None
    environment: Environment | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    parent_id: str | None = None
    tag: str | None = None
    role: str | None = None
    q: str | None = None
    issued_before: datetime | None = None
    expires_within_days: int | None = None
    rotation_due_within_days: int | None = None
    idle_days: int | None = None
    over_wide_days: int | None = None

    def conditions(self, now: datetime) -> dict[str, object]:
        """For `Lists`: expressions and their arguments."""
        timed = {
            "expires_at <= $?": _moment(now, self.expires_within_days),
            _DUE: _moment(now, self.rotation_due_within_days),
            _IDLE: _moment(now, self.idle_days, -1),
            _OVER_WIDE: _moment(now, self.over_wide_days, -1),
        }
        return {
            "kind = $?": self.kind,
            "environment = $?": self.environment,
            "integration_id = $?": self.integration_id,
            "partner_id = $?": self.partner_id,
            "parent_id = $?": self.parent_id,
            "strpos(tags, $?::text) > 0": self.tag and f"\n{self.tag}\n",
            "role = $?": self.role,
            "strpos(lower(name), lower($?::text)) > 0": self.q,
            "issued_at < $?": self.issued_before,
            **timed,
            _LASTS: now if any(timed.values()) else None,
        }


def usable(now: datetime) -> dict[str, object]:
    """The condition that a key may be used at all, as far as it says so itself."""
    return {_USABLE: now}


def _moment(now: datetime, days: int | None, sign: int = 1) -> datetime | None:
    return None if days is None else now + sign * timedelta(days=days)

"""The key policy of an integration, for one environment: how its partners' keys live, rotate, are named and limited."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from keyfold.domain.limits import NAME_LENGTH, Fault, text_faults
from keyfold.domain.rates import Rate, rate_faults
from keyfold.domain.rule import EVENT_ACTIONS, Action, Options, Rule

OverlapStarts = Literal["now", "first-use"]
LONGEST_OVERLAP = timedelta(days=30)
LONGEST = 10 * 366 * 86400
"""Seconds that any period of a policy has at the most."""
LEADS = (30, 7, 1)
EVENT_BYTES = range(1024, 2**20 + 1)
CONNECTIONS = range(1, 10_001)
_FIELDS = ("app", "environment", "integration")
_TURNING = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Formatting characters of bidirectional text (UAX #9) that turn or embed what follows; marks are none of them."""
_FIELD = re.compile(rf"\{{({'|'.join(_FIELDS)})\}}")


class KeyPolicy(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """All periods in seconds. `lead_days` is how long ahead expiry and due rotations are announced, `live_keys` how
    many of a partner's keys may live at once, `rate` how often each key may be used, `event_bytes` how large an event
    may be as it is stored, `connections` how many a key may have to NATS at once."""

    lifetime_seconds: int | None = None
    rotation_seconds: int | None = None
    overlap_seconds: int = 7 * 86400
    overlap_starts: OverlapStarts = "now"
    idle_seconds: int | None = None
    name_template: str = "{app} {environment}"
    live_keys: int | None = None
    lead_days: tuple[int, ...] = LEADS
    rate: Rate | None = None
    event_bytes: int = 262_144
    connections: int = 100

    def name_for(self, *, app: str, environment: str, integration: str) -> str:
        """The name of a new key: the app's name is what is cut when it gets too long. What would turn the direction
        of the words behind it is left out, so that nobody reads `ved` for `dev`."""
        fields = {"environment": environment, "integration": _straight(integration)}
        spare = NAME_LENGTH - len(_filled(self.name_template, {**fields, "app": ""}))
        return _filled(self.name_template, {**fields, "app": _straight(app)[: max(0, spare)]})[:NAME_LENGTH]

    def expiry(self, now: datetime) -> datetime | None:
        return _after(now, self.lifetime_seconds)

    def upkeep(self, now: datetime) -> "Upkeep":
        """What a key that is issued now will be reminded of, or suspended for."""
        return Upkeep(_after(now, self.rotation_seconds), self.lead_days, self.idle_seconds)


class Upkeep(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a key's policy demanded when it was issued."""

    rotation_due_at: datetime | None = None
    lead_days: tuple[int, ...] = LEADS
    idle_seconds: int | None = None


class Offer(msgspec.Struct, frozen=True):
    """What an integration offers in one environment: the most that a key may do, and the policy it lives by."""

    permitted: tuple[Action, ...] = EVENT_ACTIONS
    options: Options = Options()
    policy: KeyPolicy = KeyPolicy()

    @property
    def rule(self) -> Rule:
        return Rule(self.permitted, self.options)


def policy_faults(pointer: str, policy: KeyPolicy) -> Iterator[Fault]:
    """What is wrong with a policy."""
    for name, seconds, least in (
        ("lifetimeSeconds", policy.lifetime_seconds, 60),
        ("rotationSeconds", policy.rotation_seconds, 60),
        ("idleSeconds", policy.idle_seconds, 60),
    ):
        if seconds is not None and not least <= seconds <= LONGEST:
            yield f"{pointer}/{name}", "Give a minute (60) to ten years."
    if not 0 <= policy.overlap_seconds <= LONGEST_OVERLAP.total_seconds():
        yield f"{pointer}/overlapSeconds", "An overlap lasts 30 days (2592000) at the most."
    if policy.live_keys is not None and not 1 <= policy.live_keys <= 1000:
        yield f"{pointer}/liveKeys", "Give 1 to 1000."
    if policy.event_bytes not in EVENT_BYTES:
        yield f"{pointer}/eventBytes", "Give 1 KiB (1024) to 1 MiB (1048576)."
    if policy.connections not in CONNECTIONS:
        yield f"{pointer}/connections", "Give 1 to 10000."
    if len(policy.lead_days) > 10 or any(not 1 <= days <= 365 for days in policy.lead_days):
        yield f"{pointer}/leadDays", "Give up to ten leads of 1 to 365 days."
    yield from text_faults(f"{pointer}/nameTemplate", policy.name_template, most=NAME_LENGTH)
    if not _filled(policy.name_template, dict.fromkeys(_FIELDS, "x")).strip():
        yield f"{pointer}/nameTemplate", "A name needs at least a character."
    if policy.rate is not None:
        yield from rate_faults(f"{pointer}/rate", policy.rate)


def _straight(text: str) -> str:
    return _TURNING.sub("", text)


def _filled(template: str, fields: dict[str, str]) -> str:
    return _FIELD.sub(lambda match: fields[match[1]], template)


def _after(now: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else now + timedelta(seconds=seconds)

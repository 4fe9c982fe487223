"""What happens to an access key: its events, and the document that people write and change."""

from datetime import datetime
from typing import Literal

import msgspec

from keyfold.domain.permissions import Conditions, Environment
from keyfold.domain.policy import OverlapStarts, Upkeep
from keyfold.domain.record import Event
from keyfold.domain.rule import Rule

KeyKind = Literal["account", "integration", "service"]
Suspender = Literal["parent", "idle", "partner", "own"]
"""Why a key is suspended: with the key that it was delegated by, because nobody used it, by its partner, or by those
who manage. Each outranks those before it."""


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What people write and change of a key. `source_networks` are those that it may be used from, all when empty."""

    name: str
    purpose: str | None = None
    tags: tuple[str, ...] = ()
    role: str | None = None
    conditions: Conditions | None = None
    rule: Rule | None = None
    source_networks: tuple[str, ...] = ()
    not_before: datetime | None = None
    expires_at: datetime | None = None


class DocumentChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Some of the fields of `Document`."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    purpose: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    role: str | msgspec.UnsetType | None = msgspec.UNSET
    conditions: Conditions | msgspec.UnsetType | None = msgspec.UNSET
    rule: Rule | msgspec.UnsetType | None = msgspec.UNSET
    source_networks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    not_before: datetime | msgspec.UnsetType | None = msgspec.UNSET
    expires_at: datetime | msgspec.UnsetType | None = msgspec.UNSET


class KeyEvent(Event, frozen=True, kw_only=True):
    """Every event of a key says whose key it is."""

    key_id: str
    integration_id: str | None = None
    partner_id: str | None = None


class KeyIssued(KeyEvent, frozen=True, kw_only=True):
    """An account key has a `role`, an integration key and a partner's an `integration_id`, a service key the rest.

    The successor of a rotation names its predecessor, and takes over what that one had delegated. `line_id` is that of
    the first key of the line in which one stands in the place of another.
    """

    type = "key.issued.v1"
    personal = ("name", "purpose")

    kind: KeyKind
    name: str = ""
    purpose: str | None = None
    tags: tuple[str, ...] = ()
    role: str | None = None
    conditions: Conditions | None = None
    environment: Environment | None = None
    rule: Rule | None = None
    source_networks: tuple[str, ...] = ()
    not_before: datetime | None = None
    expires_at: datetime | None = None
    upkeep: Upkeep = Upkeep()
    parent_id: str | None = None
    depth: int = 0
    predecessor_id: str | None = None
    delegates: tuple[str, ...] = ()
    line_id: str | None = None


class KeyChanged(KeyEvent, frozen=True, kw_only=True):
    """The fields of the document that changed, before and after."""

    type = "key.changed.v1"
    personal = ("before.name", "before.purpose", "after.name", "after.purpose")

    before: DocumentChange
    after: DocumentChange


class KeySuspended(KeyEvent, frozen=True, kw_only=True):
    type = "key.suspended.v1"

    reason: str
    by: Suspender = "own"


class KeyReinstated(KeyEvent, frozen=True, kw_only=True):
    type = "key.reinstated.v1"


class KeyRotated(KeyEvent, frozen=True, kw_only=True):
    """A successor was issued. This key retires at `retires_at`, or so long after the successor's first use."""

    type = "key.rotated.v1"

    successor_id: str
    overlap_seconds: int
    overlap_starts: OverlapStarts
    retires_at: datetime | None = None


class KeyFirstUsed(KeyEvent, frozen=True, kw_only=True):
    """The successor of a rotation was used for the first time: from now on it can't be taken back by another one."""

    type = "key.first-used.v1"


class KeyRetiring(KeyEvent, frozen=True, kw_only=True):
    """The successor is in use, so the overlap runs."""

    type = "key.retiring.v1"

    retires_at: datetime


class KeyRetired(KeyEvent, frozen=True, kw_only=True):
    type = "key.retired.v1"


class KeyDelegated(KeyEvent, frozen=True, kw_only=True):
    """A smaller key was issued under this one."""

    type = "key.delegated.v1"

    delegate_id: str


class KeyAdopted(KeyEvent, frozen=True, kw_only=True):
    """The key that this one was delegated by has been rotated: its successor takes its place."""

    type = "key.adopted.v1"

    parent_id: str


class KeyExpiring(KeyEvent, frozen=True, kw_only=True):
    """Announces the expiry, so many days ahead."""

    type = "key.expiring.v1"

    days: int
    expires_at: datetime


class KeyRotationDue(KeyEvent, frozen=True, kw_only=True):
    """Announces the rotation that the policy demands, so many days ahead; 0 when it is due."""

    type = "key.rotation-due.v1"

    days: int
    due_at: datetime


class KeyExpired(KeyEvent, frozen=True, kw_only=True):
    """The key was expired from `expires_at` on; this only writes it down."""

    type = "key.expired.v1"

    expires_at: datetime


class KeyRevoked(KeyEvent, frozen=True, kw_only=True):
    type = "key.revoked.v1"

    reason: str


class KeyCompromised(KeyEvent, frozen=True, kw_only=True):
    """Somebody else has the secret, or may have it. Final, without any overlap."""

    type = "key.compromised.v1"

    reason: str


class KeyErased(KeyEvent, frozen=True, kw_only=True):
    """What was personal about it is gone for good: the operator's who held it, or with the partner it belonged to."""

    type = "key.erased.v1"

    reason: str


AnyKeyEvent = (
    KeyIssued
    | KeyChanged
    | KeySuspended
    | KeyReinstated
    | KeyRotated
    | KeyFirstUsed
    | KeyRetiring
    | KeyRetired
    | KeyDelegated
    | KeyAdopted
    | KeyExpiring
    | KeyRotationDue
    | KeyExpired
    | KeyRevoked
    | KeyCompromised
    | KeyErased
)

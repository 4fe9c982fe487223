"""The key document: what may stand in it, and the one form in which it is written down."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from keyfold.domain.ceilings import rule_faults
from keyfold.domain.ids import is_id
from keyfold.domain.key_events import Document, KeyKind
from keyfold.domain.limits import DESCRIPTION_LENGTH, NAME_LENGTH, Fault, text_faults
from keyfold.domain.networks import canonical, network_fault
from keyfold.domain.permissions import ROLES

TAGS = 20
TAG_LENGTH = 64
NETWORKS = 50


def document_faults(kind: KeyKind, document: Document, now: datetime, *, before: Document | None = None) -> list[Fault]:
    """What is wrong with a key's document. What stands in the one `before` is not judged by the clock again."""
    faults = [
        *text_faults("/name", document.name, most=NAME_LENGTH),
        *text_faults("/purpose", document.purpose, most=DESCRIPTION_LENGTH, lines=True),
        *_list_faults(document),
        *_kind_faults(kind, document),
        *_time_faults(document),
    ]
    if not document.name:
        faults.append(("/name", "A key needs a name."))
    moved = before is None or document.expires_at != before.expires_at
    if moved and document.expires_at is not None and document.expires_at <= now:
        faults.append(("/expiresAt", "This moment has passed."))
    return faults


def settled(document: Document) -> Document:
    """The same in the one form that is written down: times in UTC, networks canonical, nothing twice."""
    return msgspec.structs.replace(
        document,
        tags=tuple(dict.fromkeys(document.tags)),
        source_networks=tuple(dict.fromkeys(canonical(each) for each in document.source_networks)),
        not_before=document.not_before and document.not_before.astimezone(UTC),
        expires_at=document.expires_at and document.expires_at.astimezone(UTC),
    )


def _list_faults(document: Document) -> Iterator[Fault]:
    if len(document.tags) > TAGS:
        yield "/tags", f"A key has {TAGS} tags at the most."
    for n, tag in enumerate(document.tags):
        yield from text_faults(f"/tags/{n}", tag, most=TAG_LENGTH)
        if not tag:
            yield f"/tags/{n}", "A tag needs a character."
    if len(document.source_networks) > NETWORKS:
        yield "/sourceNetworks", f"Name {NETWORKS} networks at the most."
    for n, network in enumerate(document.source_networks):
        if fault := network_fault(network):
            yield f"/sourceNetworks/{n}", fault


def _kind_faults(kind: KeyKind, document: Document) -> Iterator[Fault]:
    for name, is_given, of in (
        ("role", document.role is not None, "account"),
        ("conditions", document.conditions is not None, "account"),
        ("permitted", document.rule is not None, "service"),
    ):
        if is_given and kind != of:
            yield f"/{name}", f"A key of kind {kind} has no {name}."
    if kind == "account":
        if document.role is None:
            yield "/role", "A key of kind account needs role."
        elif document.role not in ROLES and not is_id("rol", document.role):
            yield "/role", f"Give {', '.join(ROLES)}, or the id of a role of the workspace."
    if document.role == "owner" and document.conditions is not None:
        yield "/conditions", "An owner isn't narrowed. Choose another role."
    if document.conditions is not None:
        yield from document.conditions.faults()
    if document.rule is not None:
        yield from rule_faults("", document.rule)


def _time_faults(document: Document) -> Iterator[Fault]:
    for name, moment in (("notBefore", document.not_before), ("expiresAt", document.expires_at)):
        try:
            if moment is not None:
                moment.astimezone(UTC)
        except OverflowError:
            yield f"/{name}", "In UTC this moment lies outside the years 1 to 9999."
    if document.expires_at and document.not_before and document.not_before >= document.expires_at:
        yield "/notBefore", "The key would expire before it becomes valid."

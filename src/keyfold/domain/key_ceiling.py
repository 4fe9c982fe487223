"""What stands above a key: the most that its document may say, and each thing in which it goes beyond."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from keyfold.domain.ceilings import ExceedsCeiling, excesses
from keyfold.domain.key_events import Document
from keyfold.domain.limits import Fault
from keyfold.domain.networks import network_fault, within
from keyfold.domain.record import encode
from keyfold.domain.rule import Rule


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """The rule and the latest end that are given from above; empty `source_networks` are all there are."""

    rule: Rule | None
    source_networks: tuple[str, ...] = ()
    not_before: datetime | None = None
    expires_at: datetime | None = None

    @classmethod
    def of(cls, document: Document) -> "Ceiling":
        return cls(**{name: getattr(document, name) for name in cls.__struct_fields__})


def demand_below(document: Document, limits: Iterable[Ceiling], *, before: Document | None = None) -> None:
    """What stands in the document `before` isn't judged again. Raises `ExceedsCeiling` with each excess."""
    excess = [
        fault for limit in limits for name, fault in _excesses(document, limit) if _is_new(name, document, before)
    ]
    if excess:
        raise ExceedsCeiling("A key may have what stands above it gives, or less.", *dict.fromkeys(excess))


def _excesses(document: Document, limit: Ceiling) -> Iterator[tuple[str, Fault]]:
    """Each excess with the field of the document that has it."""
    if document.rule is not None and limit.rule is not None:
        for fault in excesses(document.rule, limit.rule):
            yield "rule", fault
    for fault in _network_excesses(document.source_networks, limit.source_networks):
        yield "source_networks", fault
    start, end = limit.not_before, limit.expires_at
    if start is not None and (document.not_before is None or document.not_before < start):
        yield "not_before", ("/notBefore", f"The earliest is {start.isoformat()}.")
    if end is not None and (document.expires_at is None or document.expires_at > end):
        yield "expires_at", ("/expiresAt", f"The latest is {end.isoformat()}.")


def _network_excesses(networks: tuple[str, ...], limit: tuple[str, ...]) -> Iterator[Fault]:
    allowed = f"Keep within {', '.join(limit)}."
    if limit and not networks:
        yield "/sourceNetworks", allowed
    for n, each in enumerate(networks if limit else ()):
        if network_fault(each) is None and not within(each, limit):
            yield f"/sourceNetworks/{n}", allowed


def _is_new(name: str, document: Document, before: Document | None) -> bool:
    # as JSON: Python takes true for 1
    return before is None or encode(getattr(document, name)) != encode(getattr(before, name))

"""Every row there is, with its target of the design's section 10, in groups that are asked for by name."""

from collections.abc import Sequence

import msgspec

from .measure import Bound, Row

_PARTNER = "POST /api/v1/external/partner"
_VERIFY = "POST /api/v1/keys/verify, one process, 32 connections"
_FLAT = (Bound("ratio", most=1.15),)
_LARGE, _LARGE_EVENTS = "ten million events", 10_000_000

GROUPS: dict[str, tuple[Row, ...]] = {
    "append": (
        Row(
            name="append-32",
            what="append, 1 event a command, 32 writers, whole stack below HTTP",
            against="pgbench, one bare INSERT of the same bytes, 32 clients",
            bounds=(Bound("ratio", least=1.2),),
        ),
        Row(
            name="append-1",
            what="append, 1 event a command, 1 writer",
            against="pgbench, the same INSERT, 1 client",
            bounds=(Bound("ratio", least=0.4),),
        ),
        Row(
            name="append-eventsourcing",
            what="append, 1 event a command, 32 writers",
            against="eventsourcing 9.5, default recorder, 32 threads",
            bounds=(Bound("ratio", least=20),),
        ),
        Row(
            name="append-emmett",
            what="append, 1 event a command, 32 writers",
            against="emmett-postgresql, 32 appends at a time",
            bounds=(Bound("ratio", least=20),),
        ),
        Row(
            name="read-eventsourcing",
            what="read all, records decoded",
            against="eventsourcing 9.5, select_notifications, not decoded",
            bounds=(Bound("ratio", least=3),),
        ),
        Row(
            name="read-emmett",
            what="read all, records and events decoded",
            against="emmett-postgresql, readMessagesBatch",
            bounds=(Bound("ratio", least=3),),
        ),
    ),
    "project": (
        *(
            Row(
                name=f"rebuild-{name}",
                what=what,
                against="reading and decoding the log without applying",
                bounds=(Bound("ratio", least=0.25), Bound("rate", least=80_000)),
            )
            for name, what in (
                ("current", "rebuild of the projection current"),
                ("audit", "rebuild of the projection audit"),
                ("history", "rebuild of the projection history"),
            )
        ),
        Row(
            name="visible",
            what="append answered → visible in all projections, at 500 events/s",
            against="-",
            bounds=(Bound("p50", most=10), Bound("p99", most=50)),
        ),
    ),
    "api": (
        Row(
            name="external-partner",
            what=f"{_PARTNER}, 32 connections",
            against="a plain Litestar route doing one INSERT of the same bytes, same server",
            bounds=(Bound("ratio", least=0.7),),
        ),
        Row(
            name="up-cold",
            what="keyfold up from an empty folder to the first 201",
            against="-",
            is_profiled=False,
            bounds=(Bound("seconds", most=6),),
        ),
        Row(
            name="up-warm",
            what="keyfold up in a folder that has been used, to the first 201",
            against="-",
            is_profiled=False,
            bounds=(Bound("seconds", most=2.5),),
        ),
    ),
    "verify": (
        Row(
            name="verify-floor",
            what=_VERIFY,
            against="an ASGI app that reads the body and gives one of the same answers, same server",
            bounds=(Bound("ratio", least=0.6),),
        ),
        Row(
            name="verify-better-auth",
            what=_VERIFY,
            against="better-auth 1.7.5's api-key plugin, verifyApiKey behind node:http",
            bounds=(Bound("ratio", least=10),),
        ),
        Row(
            name="verify-drf",
            what=_VERIFY,
            against="Django REST framework API key 3.1, a view behind HasAPIKey, gunicorn with one worker",
            bounds=(Bound("ratio", least=10),),
        ),
        Row(
            name="verify-in-process",
            what="verify in process, 1,000 keys in memory, one core",
            against="-",
            bounds=(Bound("rate", least=200_000), Bound("p99", most=0.05)),
        ),
        Row(
            name="revocation",
            what="revoked by one API process → refused by another; late: called valid more than 1,000 ms after",
            against="-",
            bounds=(Bound("p99", most=20), Bound("late", most=0)),
        ),
    ),
    "audit": (
        Row(
            name="audit-verify",
            what="offline verification of a whole log's bundle, records of 600 bytes",
            against="hashing each line of the same file with hashlib alone",
            bounds=(Bound("ratio", least=0.4),),
        ),
    ),
    "scale": (
        *(
            Row(
                name=name,
                what=f"p50 of {what}, {_LARGE} in the log",
                against="the same with 10 thousand",
                bounds=bounds,
            )
            for name, what, bounds in (
                ("scale-append", "append, 1 event a command, 1 writer", _FLAT),
                ("scale-verify", "verify in process, from the log", _FLAT),
                ("scale-history", "one key's history, with its records, asked a second time", _FLAT),
                ("scale-past", "a page of the keys that there were at a moment, asked a second time", _FLAT),
                ("scale-history-first", "one key's history, asked for the first time in this run", ()),
                ("scale-past-first", "a page of keys of the past, asked for the first time in this run", ()),
            )
        ),
        Row(
            name="connect-first",
            what="a key's first connect to NATS: processor time in the API process that lets it in",
            against="in nats-server",
            bounds=(),
        ),
        Row(
            name="connect-again",
            what="a connect of a key whose account the server has loaded: processor time in the API process",
            against="in nats-server",
            bounds=(),
        ),
        Row(
            name="connect-rate",
            what="connects of such keys, one API process, four clients that connect one after the other",
            against="-",
            bounds=(),
            is_profiled=False,
        ),
        Row(
            name="connect-memory",
            what="a connected key in the memory of nats-server: its account, its connection, its subscriptions",
            against="-",
            bounds=(),
            is_profiled=False,
        ),
        Row(
            name="lifecycle-size",
            what="an event in the stream LIFECYCLE, on the disk of one server",
            against="its record in the log",
            bounds=(),
            is_profiled=False,
        ),
    ),
    "events": (
        *(
            Row(
                name=name,
                what=f"event published by NATS through the ingress, acknowledged, one connection, {many} at a time",
                against="the same client's acknowledged publish of the same bytes straight to JetStream",
                bounds=(Bound("ratio", least=0.25),),
            )
            for name, many in (("publish-nats", 64), ("publish-nats-1", 1))
        ),
        Row(
            name="publish-http",
            what="POST /api/v1/events, one process, 32 connections",
            against="-",
            bounds=(),
        ),
        Row(
            name="consume-native",
            what="stored events consumed natively, 100 at a time, each acknowledged",
            against="the same consumer without accounts and imports",
            bounds=(Bound("ratio", least=0.9),),
        ),
        Row(
            name="connection-gone",
            what="revocation answered → the key's live NATS connection gone, two API processes",
            against="-",
            bounds=(Bound("p99", most=50),),
        ),
        Row(
            name="thousand-gone",
            what="the same, 1,000 live connections that publish, until all are gone, the worst of three; "
            "late: stored more than 1 s after",
            against="-",
            bounds=(Bound("seconds", most=1), Bound("late", most=0)),
        ),
    ),
}
ROWS: dict[str, Row] = {row.name: row for rows in GROUPS.values() for row in rows}


def chosen(groups: Sequence[str], only: Sequence[str]) -> list[str]:
    """The groups to measure: those that are named, or those that the rows are of; with neither, all but `scale`.

    Raises `ValueError` for a group or a row that there isn't, and for a row that is of none of the named groups.
    """
    group_of = {row.name: group for group, rows in GROUPS.items() for row in rows}
    if unknown := [each for each in groups if each not in GROUPS]:
        raise ValueError(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if unknown := [each for each in only if each not in group_of]:
        there_are = "; ".join(f"{group}: {', '.join(row.name for row in rows)}" for group, rows in GROUPS.items())
        raise ValueError(f"no such row: {', '.join(unknown)}; there are, by group, {there_are}")
    if groups and (outside := [each for each in only if group_of[each] not in groups]):
        raise ValueError(f"of another group: {', '.join(f'{each} is of {group_of[each]}' for each in outside)}")
    if only:
        return [group for group in GROUPS if group in {group_of[each] for each in only}]
    return [*groups] or [group for group in GROUPS if group != "scale"]


def rows_of(events: int) -> dict[str, Row]:
    """The rows, with so many events in the large log."""
    if events == _LARGE_EVENTS:
        return ROWS
    said = f"{events:,} events"
    return {name: msgspec.structs.replace(row, what=row.what.replace(_LARGE, said)) for name, row in ROWS.items()}

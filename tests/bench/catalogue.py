"""Every row there is, with its target of the design's section 10, in groups that are asked for by name."""

from .measure import Bound, Row

_PARTNER = "POST /api/v1/external/partner"
_VERIFY = "POST /api/v1/keys/verify, one process, 32 connections"
_FLAT = (Bound("ratio", most=1.15),)

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
            bounds=(Bound("seconds", most=6),),
        ),
        Row(
            name="up-warm",
            what="keyfold up in a folder that has been used, to the first 201",
            against="-",
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
    "scale": tuple(
        Row(
            name=name,
            what=f"p50 of {what}, 10 million events in the log unless said otherwise",
            against="the same with 10 thousand",
            bounds=bounds,
        )
        for name, what, bounds in (
            ("scale-append", "append, 1 event a command, 1 writer", _FLAT),
            ("scale-verify", "verify in process, from the log", _FLAT),
            ("scale-history", "one key's history, with its records, asked a second time", _FLAT),
            ("scale-past", "a page of the keys that there were at a moment, asked a second time", _FLAT),
            ("scale-history-first", "one key's history, asked for the first time: from the disk", ()),
            ("scale-past-first", "a page of keys of the past, asked for the first time: from the disk", ()),
        )
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
            what="the same, 1,000 live connections that publish, until all are gone; late: stored more than 1 s after",
            against="-",
            bounds=(Bound("seconds", most=1), Bound("late", most=0)),
        ),
    ),
}
ROWS: dict[str, Row] = {row.name: row for rows in GROUPS.values() for row in rows}

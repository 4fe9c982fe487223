"""The subjects that Keyfold uses on NATS, and the name of the stream of lifecycle events."""

APPENDED = "keyfold.appended"
"""Core NATS: somebody appended; the payload is `herald.Appended` as JSON. May be lost: everyone polls as well."""

VERIFY = "keyfold.verify"
"""Request and reply: whether a key may be used. See `verification.VerificationResponder`."""

LIFECYCLE = "LIFECYCLE"
"""The stream of lifecycle events; its sequence is the log's position."""

LIFECYCLE_SUBJECTS = "lc.>"


def lifecycle(workspace: str, event_type: str) -> str:
    """The subject of a lifecycle event: `lc.<workspace>.key.issued.v1`."""
    return f"lc.{workspace}.{event_type}"


def probe(process: str) -> str:
    """What a process sends to itself through the server. Not below `_INBOX`, where an API may not publish."""
    return f"keyfold.probe.{process}"


CHECKPOINT = "log.checkpoint"
"""Core NATS: each checkpoint of the log as it is signed, a signed note. Gateways hear it too."""

USAGE = "USAGE"
"""The stream of how keys are used for events, on its way from the APIs to Postgres."""

USAGE_SUBJECT = "usage.events"

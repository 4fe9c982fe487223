"""The subjects that Keyfold uses on NATS, and the name of the stream of lifecycle events."""

APPENDED = "keyfold.appended"
"""Core NATS: somebody appended; the payload is the last position as text. May be lost: everyone polls as well."""

LIFECYCLE = "LIFECYCLE"
"""The stream of lifecycle events; its sequence is the log's position."""

LIFECYCLE_SUBJECTS = "lc.>"


def lifecycle(workspace: str, event_type: str) -> str:
    """The subject of a lifecycle event: `lc.<workspace>.key.issued.v1`."""
    return f"lc.{workspace}.{event_type}"

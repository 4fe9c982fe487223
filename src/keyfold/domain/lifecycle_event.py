"""Lifecycle events as CloudEvents 1.0 for whoever subscribes to them: the data is the record, exactly as in the log."""

import msgspec


class _Tenanted(msgspec.Struct, rename="camel"):
    workspace_id: str


class Head(msgspec.Struct):
    """What the attributes are made of. `time` stays as it was written."""

    id: str
    stream: str
    type: str
    time: str
    data: _Tenanted


_decode = msgspec.json.Decoder(Head).decode


class _Structured(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: msgspec.Raw


def read_head(record: bytes) -> Head:
    """Raises `msgspec.ValidationError` or `msgspec.DecodeError`, which are `ValueError`s."""
    return _decode(record)


def attributes(head: Head) -> dict[str, str]:
    """The CloudEvent's attributes: `subject` is the id of what it happened to."""
    return {
        "specversion": "1.0",
        "id": head.id,
        "source": f"/workspaces/{head.data.workspace_id}",
        "type": f"keyfold.{head.type}",
        "subject": head.stream,
        "time": head.time,
        "datacontenttype": "application/json",
    }


def structured(record: bytes) -> bytes:
    """The CloudEvent in the JSON event format. Raises `ValueError` for what is no record."""
    return msgspec.json.encode(_Structured(**attributes(read_head(record)), data=msgspec.Raw(record)))

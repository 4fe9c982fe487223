"""How the description of the API shows an event: no body that Litestar could derive from a handler's signature."""

from typing import Any

from keyfold.domain.app_event import MEDIA_TYPE
from keyfold.domain.cloudevents import BATCH, BATCH_MEDIA_TYPE

Json = dict[str, Any]

_TEXT = {"type": "string"}
CLOUD_EVENT: Json = {
    "type": "object",
    "title": "CloudEvent",
    "description": "CloudEvents 1.0, with extension attributes. What is left out has its default; `source`, `keyid` "
    "and `topic` are written by Keyfold.",
    "required": ["specversion"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": _TEXT | {"minLength": 1, "maxLength": 256, "description": "A new one by default."},
        "type": _TEXT | {"minLength": 1, "maxLength": 255, "description": "By default the topic, with dots."},
        "topic": _TEXT | {"description": "Where to publish it, if the query doesn't say so."},
        "to": _TEXT
        | {"description": "Ids of the partners that it is for, up to 20 with commas between; all by default."},
        "ttl": {"type": "integer", "minimum": 1, "maximum": 2592000, "description": "Seconds that it is kept."},
        "time": _TEXT | {"format": "date-time", "description": "Now, by default."},
        "subject": _TEXT,
        "datacontenttype": _TEXT,
        "dataschema": _TEXT | {"format": "uri"},
        "data": {"description": "Any JSON value."},
        "data_base64": _TEXT | {"format": "byte", "description": "In the place of `data`, for what is no JSON."},
    },
    "additionalProperties": {"type": ["string", "integer", "boolean"]},
}
_EXAMPLE = {
    "specversion": "1.0",
    "id": "order-4711",
    "type": "app.order.created",
    "data": {"orderId": "o_1", "total": 12.5},
}
_REFERENCE = {"$ref": "#/components/schemas/CloudEvent"}
CONTENT: Json = {
    MEDIA_TYPE: {"schema": _REFERENCE, "example": _EXAMPLE},
    BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": _REFERENCE, "maxItems": BATCH}, "example": [_EXAMPLE]},
    "application/json": {"schema": {}, "example": _EXAMPLE["data"]},
}
"""What the body of a request is, by its media type."""

"""CloudEvents as they are sent: structured, binary and batched, and plain JSON, which is an event without attributes.

Total: whatever comes is a draft or raises `Invalid`. Of two members with the same name the last counts, here as in all
that is stored. Sources: CloudEvents 1.0.2, JSON event format, HTTP and NATS protocol bindings.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from keyfold.domain.app_event import MEDIA_TYPE, SPECVERSION, Draft, draft
from keyfold.domain.refusals import Invalid, UnsupportedMediaType

BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
BATCH = 100
"""Events in a batch."""
_PREFIX = "ce-"
_JSON = re.compile(r"application/json|text/json|[^/;\s]+/[^/;\s]+\+json")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


def media_type(content_type: str) -> str:
    """Without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read(content_type: str, headers: Mapping[str, str], body: bytes, *, fallback_id: str | None = None) -> Draft:
    """The event in one message, in whichever mode it is. `headers` have lower-case names.

    `fallback_id` is the event's id where it has none. Raises `Invalid`, `UnsupportedMediaType`.
    """
    kind = media_type(content_type)
    named = {} if fallback_id is None else {"id": fallback_id}
    if kind == MEDIA_TYPE:
        return read_structured(body, fallback=named)
    if kind.startswith("application/cloudevents"):
        raise UnsupportedMediaType(f"Send events as {MEDIA_TYPE}, as {BATCH_MEDIA_TYPE} over HTTP, or in binary mode.")
    is_binary = f"{_PREFIX}specversion" in headers
    if not is_binary and kind and not _JSON.fullmatch(kind):
        raise UnsupportedMediaType(
            "Without the header ce-specversion, send JSON: the header Content-Type says otherwise."
        )
    return read_binary(content_type, headers, body, fallback=named)


def read_structured(body: bytes, *, fallback: Mapping[str, str] | None = None) -> Draft:
    """The event in a JSON text. Raises `Invalid`."""
    return _of_object(_json(body), fallback or {})


def read_batch(body: bytes) -> list[Draft | Invalid]:
    """Each event of a batch, or what is wrong with it by itself. Raises `Invalid` for what is no batch."""
    elements = _json(body)
    if not isinstance(elements, list) or len(elements) > BATCH:
        raise Invalid("This is not a batch.", ("", f"Send an array of {BATCH} events at the most."))
    return [_element(each) for each in elements]


def read_binary(
    content_type: str, headers: Mapping[str, str], body: bytes, *, fallback: Mapping[str, str] | None = None
) -> Draft:
    """The event whose attributes are in headers, and whose data is the body. Raises `Invalid`."""
    given = {name.removeprefix(_PREFIX): _unescaped(name, headers[name]) for name in headers if _is_ours(name)}
    _demand_version(given.get("specversion", SPECVERSION), _PREFIX)
    if "datacontenttype" in given:
        raise Invalid("The event's content type is the message's.", ("ce-datacontenttype", "Leave it out."))
    if not body and not content_type:
        return draft({**(fallback or {}), **given}, at=_PREFIX)
    given["datacontenttype"] = content_type.strip() or "application/json"
    attributes = {**(fallback or {}), **given}
    if _JSON.fullmatch(media_type(given["datacontenttype"])):
        data = _json(body) if body else msgspec.UNSET
        return draft(attributes, at=_PREFIX, data=data)
    return draft(attributes, at=_PREFIX, data_base64=base64.b64encode(body).decode())


def _is_ours(name: str) -> bool:
    return name.startswith(_PREFIX)


def _element(value: Any) -> Draft | Invalid:
    try:
        return _of_object(value, {})
    except Invalid as wrong:
        return wrong


def _of_object(value: Any, fallback: Mapping[str, str]) -> Draft:
    if not isinstance(value, dict):
        raise Invalid("This is not an event.", ("", "Send a JSON object."))
    given = {**fallback, **{name: each for name, each in value.items() if each is not None or name == "data"}}
    _demand_version(given.get("specversion"), "/")
    data, encoded = given.pop("data", msgspec.UNSET), given.pop("data_base64", msgspec.UNSET)
    if encoded is msgspec.UNSET:
        return draft(given, data=data)
    if data is not msgspec.UNSET:
        raise Invalid("The event has data twice.", ("/data_base64", "Send data or data_base64, not both."))
    if not _is_base64(encoded):
        raise Invalid("The event's data can't be read.", ("/data_base64", "This is not Base64 (RFC 4648)."))
    return draft(given, data_base64=encoded)


def _demand_version(version: Any, at: str) -> None:
    if version != SPECVERSION:
        raise Invalid("This is not a CloudEvents 1.0 event.", (f"{at}specversion", f'Send "{SPECVERSION}".'))


def _is_base64(text: Any) -> bool:
    try:
        return isinstance(text, str) and base64.b64decode(text, validate=True) is not None
    except (binascii.Error, ValueError):
        return False


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        raise Invalid("The JSON is nested too deeply.", ("", "Nest it less.")) from None
    except UnicodeDecodeError:
        raise Invalid("The JSON is not UTF-8.", ("", "Send UTF-8.")) from None
    except msgspec.DecodeError as error:
        raise Invalid("The body is not valid JSON.", ("", f"{error}.")) from None


def _unescaped(name: str, value: str) -> str:
    """A header's value as the HTTP binding has it (section 3.1.3.2): unquoted, then percent-decoded once, as UTF-8."""
    value = value.strip()
    if quoted := _QUOTED.fullmatch(value):
        value = re.sub(r"\\(.)", r"\1", quoted[1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeError:
        raise Invalid("A header can't be read.", (name, "Percent-encode it as UTF-8.")) from None

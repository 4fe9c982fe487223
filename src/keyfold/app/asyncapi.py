"""AsyncAPI of an integration: its topic catalogue as its partners' apps see it, over NATS and over HTTP.

Version 3.0.0: https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from keyfold.domain.integration import Integration
from keyfold.domain.json_schema import relocated
from keyfold.domain.topic_entry import Schema, Topic

Json = dict[str, Any]

CLOUD_EVENT = "application/cloudevents+json"
_TEXT: Schema = {"type": "string"}
_ENVELOPE: Schema = {
    "type": "object",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {**_TEXT, "minLength": 1},
        "source": {**_TEXT, "description": "Put there by Keyfold: /partners/ and the id of the partner that sent it."},
        "type": {**_TEXT, "minLength": 1},
        "time": {**_TEXT, "format": "date-time"},
        "topic": {**_TEXT, "description": "Put there by Keyfold."},
        "keyid": {**_TEXT, "description": "Put there by Keyfold: the key that it was sent with."},
        "to": {**_TEXT, "description": "The ids of the partners that it is for, with commas between. All, without it."},
        "ttl": {"type": "integer", "minimum": 1, "description": "Seconds that it lives."},
    },
}
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"


def document(
    integration: Integration, version: int, topics: Sequence[Topic], *, nats_url: str, public_url: str
) -> Json:
    """The description as plain JSON values. `version` is that of the integration's stream."""
    newest = sum(topic.newest.version for topic in topics if topic.newest)
    described: Json = {
        "asyncapi": "3.0.0",
        "info": {
            "title": integration.terms.name,
            "version": f"{version}.{newest}.0",
            "description": integration.terms.presentation.description,
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": _server(nats_url, "natsToken", "The access key is the client's token."),
            "http": _server(public_url, "accessKey", "The access key is the bearer token."),
        },
        "channels": {},
        "operations": {},
        "components": {"schemas": {}, "messages": {}, "securitySchemes": _SECURITY},
    }
    for topic in sorted(topics, key=lambda each: each.name):
        _add(described, topic)
    return described


_SECURITY: Json = {
    "natsToken": {"type": "apiKey", "in": "password", "description": "An access key, given as the NATS token."},
    "accessKey": {"type": "http", "scheme": "bearer", "bearerFormat": "kf_…"},
}


def _server(url: str, security: str, description: str) -> Json:
    parts = urlsplit(url)
    said = {
        "host": parts.netloc.rpartition("@")[2],
        "protocol": parts.scheme,
        "description": description,
        "security": [{"$ref": f"#/components/securitySchemes/{security}"}],
    }
    return {**said, "pathname": parts.path} if parts.path.strip("/") else said


def _add(described: Json, topic: Topic) -> None:
    """One topic: its schema, its two messages, and a channel and an operation for each way that it goes."""
    name, components = topic.name.replace("/", "."), described["components"]
    components["schemas"] |= {f"{name}{ending}": value for ending, value in _schemas(name, topic)}
    components["messages"] |= {f"{name}{ending}": value for ending, value in _messages(name, topic)}
    for way, action, forms, channel in _channels(topic, name):
        messages = {f"{name}{form}": {"$ref": f"#/components/messages/{name}{form}"} for form in forms}
        described["channels"][f"{way}.{name}"] = {**channel, "title": topic.name, "messages": messages}
        described["operations"][f"{way}.{name}"] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{way}.{name}"},
            "title": f"{way.capitalize()} {topic.name}",
            "messages": [{"$ref": f"#/channels/{way}.{name}/messages/{each}"} for each in messages],
            **_binding(way, topic),
        }


def _schemas(name: str, topic: Topic) -> Iterator[tuple[str, Json]]:
    at = f"#/components/schemas/{name}"
    schema = relocated(topic.newest.schema, f"{at}/schema") if topic.newest else {}
    yield "", {"schemaFormat": _SCHEMA_FORMAT, "schema": schema}
    properties = _ENVELOPE["properties"] | {"data": {"$ref": f"{at}/schema"}}
    yield ".cloudevent", {"schemaFormat": _SCHEMA_FORMAT, "schema": {**_ENVELOPE, "properties": properties}}


def _messages(name: str, topic: Topic) -> Iterator[tuple[str, Json]]:
    said: Json = {"name": topic.name, "description": topic.terms.description}
    if topic.terms.deprecated:
        said["tags"] = [{"name": "deprecated"}]
    examples = [{"name": f"example{n}", "payload": each} for n, each in enumerate(topic.terms.examples, 1)]
    plain = {**said, "title": f"{topic.name}, the data alone", "contentType": "application/json"}
    yield "", _with(plain, f"#/components/schemas/{name}", examples)
    wrapped = {**said, "title": f"{topic.name}, as a CloudEvent", "contentType": CLOUD_EVENT}
    enveloped = [{**each, "payload": _enveloped(name, topic, each["payload"])} for each in examples]
    yield ".cloudevent", _with(wrapped, f"#/components/schemas/{name}.cloudevent", enveloped)


def _with(message: Json, payload: str, examples: list[Json]) -> Json:
    message = {**message, "payload": {"$ref": payload}}
    return {**message, "examples": examples} if examples else message


def _enveloped(name: str, topic: Topic, data: Any) -> Json:
    source = "/partners/prt_01h455vb4pex5vsknk084sn02q"
    return {"specversion": "1.0", "id": "1", "source": source, "type": name, "topic": topic.name, "data": data}


def _channels(topic: Topic, name: str) -> Iterator[tuple[str, str, tuple[str, ...], Json]]:
    """Way, action, forms of the message, and the channel, as the partner's app sees them."""
    nats, http = {"$ref": "#/servers/nats"}, {"$ref": "#/servers/http"}
    if topic.terms.direction != "receive":
        both = ("", ".cloudevent")
        answer = "As a request: it is answered once the event is stored, with its sequence."
        yield "send", "send", both, {"address": f"events.{name}", "servers": [nats], "description": answer}
        yield "post", "send", both, {"address": "/api/v1/events", "servers": [http], "description": answer}
    if topic.terms.direction != "send":
        how = (
            "Over NATS from the durable consumer of the key, under the JetStream domain keyfold; "
            "over HTTP from /api/v1/events/stream, or by pulling. Which consumer that is depends on the key."
        )
        yield "receive", "receive", (".cloudevent",), {"address": None, "servers": [nats, http], "description": how}


def _binding(way: str, topic: Topic) -> Json:
    if way != "post":
        return {}
    query = {"type": "object", "required": ["topic"], "properties": {"topic": {"const": topic.name}}}
    return {"bindings": {"http": {"method": "POST", "query": query, "bindingVersion": "0.3.0"}}}

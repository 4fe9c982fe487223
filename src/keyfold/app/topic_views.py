"""What the API gives of topics."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from keyfold.app.views import View
from keyfold.domain.limits import Fault
from keyfold.domain.topic_entry import Compatibility, Direction, Schema, Topic


class SchemaView(View, frozen=True, kw_only=True):
    """`compatibility` is what was promised of the version before."""

    version: int
    schema: Schema
    since: datetime
    compatibility: Compatibility


class TopicView(View, frozen=True, kw_only=True):
    """`schemas` are all versions, the newest, which events are held to, at the end."""

    id: str
    integration_id: str
    name: str
    description: str
    direction: Direction
    deprecated: bool
    status: Literal["active", "withdrawn"]
    examples: tuple[Any, ...]
    schemas: tuple[SchemaView, ...]

    @classmethod
    def of(cls, topic: Topic, now: datetime) -> "TopicView":
        return cls(
            examples=topic.terms.examples,
            schemas=tuple(
                SchemaView(version=each.version, schema=each.schema, since=each.since, compatibility=each.compatibility)
                for each in topic.schemas
            ),
            **_summary(topic),
        )


class TopicSummary(View, frozen=True, kw_only=True):
    """A topic in a list; `schema_version` is the newest, None where it has no schema."""

    id: str
    integration_id: str
    name: str
    description: str
    direction: Direction
    deprecated: bool
    status: Literal["active", "withdrawn"]
    schema_version: int | None

    @classmethod
    def of(cls, topic: Topic, now: datetime) -> "TopicSummary":
        return cls(schema_version=topic.newest.version if topic.newest else None, **_summary(topic))


class KeyTopicView(View, frozen=True, kw_only=True):
    """A topic that a key may send, receive, or both, right now, with the schema that events are held to."""

    id: str
    name: str
    description: str
    deprecated: bool
    send: bool
    receive: bool
    schema_version: int | None
    schema: Schema | None
    examples: tuple[Any, ...]

    @classmethod
    def of(cls, topic: Topic, *, send: bool, receive: bool) -> "KeyTopicView":
        return cls(
            id=topic.id,
            name=topic.name,
            description=topic.terms.description,
            deprecated=topic.terms.deprecated,
            send=send,
            receive=receive,
            schema_version=topic.newest.version if topic.newest else None,
            schema=topic.newest.schema if topic.newest else None,
            examples=topic.terms.examples,
        )


class PlaceView(View, frozen=True, kw_only=True):
    """`pointer` is a JSON pointer into the body that was checked; in a schema it follows references."""

    pointer: str
    detail: str


class CheckView(View, frozen=True, kw_only=True):
    """`compatible` is None where no schema was given."""

    compatible: bool | None
    valid: bool
    errors: list[PlaceView]

    @classmethod
    def of(cls, *, compatible: bool | None, valid: bool, faults: list[Fault]) -> "CheckView":
        errors = [PlaceView(pointer=pointer, detail=detail) for pointer, detail in faults]
        return cls(compatible=compatible, valid=valid, errors=errors)


def _summary(topic: Topic) -> dict[str, Any]:
    terms = msgspec.structs.asdict(topic.terms)
    del terms["examples"]
    return {name: getattr(topic, name) for name in ("id", "integration_id", "name", "status")} | terms

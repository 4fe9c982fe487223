"""The topic in an integration's catalogue: what it is about, and which events it carries, by versions of a schema.

Whoever gives a schema in here has had it judged by the meta-schema; what follows from the versions is decided here.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias, assert_never

import msgspec

from keyfold.domain.compatibility import incompatibilities
from keyfold.domain.json_schema import schema_faults
from keyfold.domain.limits import DESCRIPTION_LENGTH, Fault, json_faults, text_faults
from keyfold.domain.record import Event, encode
from keyfold.domain.refusals import Invalid, Refusal
from keyfold.domain.topics import is_topic

Direction = Literal["send", "receive", "both"]
"""As the partner sees it. It says what is meant; what a key may do, its permissions say."""
Compatibility = Literal["backward", "none"]
Schema: TypeAlias = dict[str, Any]

SCHEMA_BYTES = 32 * 1024
SCHEMAS_BYTES = 128 * 1024
EXAMPLES = 20
EXAMPLES_BYTES = 16 * 1024
VERSIONS = 100
LEVELS = 64
"""How deep the JSON of a schema or an example is nested."""


class TopicTerms(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that can be asked for and changed, beside the schemas."""

    description: str = ""
    direction: Direction = "both"
    examples: tuple[Any, ...] = ()
    deprecated: bool = False


class TopicDescribed(Event, frozen=True, kw_only=True):
    type = "topic.described.v1"

    topic_id: str
    integration_id: str
    name: str
    terms: TopicTerms


class TopicChanged(Event, frozen=True, kw_only=True):
    type = "topic.changed.v1"

    topic_id: str
    integration_id: str
    before: TopicTerms
    after: TopicTerms


class TopicSchemaAdded(Event, frozen=True, kw_only=True):
    """`compatibility` is what was promised of the version before; `none` asked for no promise."""

    type = "topic.schema-added.v1"

    topic_id: str
    integration_id: str
    version: int
    schema: Schema
    compatibility: Compatibility = "backward"


class TopicWithdrawn(Event, frozen=True, kw_only=True):
    type = "topic.withdrawn.v1"

    topic_id: str
    integration_id: str


TopicEvent = TopicDescribed | TopicChanged | TopicSchemaAdded | TopicWithdrawn


class SchemaVersion(msgspec.Struct, frozen=True, rename="camel"):
    """One version, as it is for good; `since` is when it was added."""

    version: int
    schema: Schema
    since: datetime
    compatibility: Compatibility = "backward"


class Topic(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    workspace_id: str
    integration_id: str
    name: str
    terms: TopicTerms
    schemas: tuple[SchemaVersion, ...] = ()
    status: Literal["active", "withdrawn"] = "active"

    @property
    def newest(self) -> SchemaVersion | None:
        """The version that events are held to."""
        return self.schemas[-1] if self.schemas else None


class AddSchema(msgspec.Struct, frozen=True):
    """`examples` take the place of those that the schema leaves behind; None keeps them."""

    schema: Schema
    compatibility: Compatibility = "backward"
    examples: tuple[Any, ...] | None = None


class WithdrawTopic(msgspec.Struct, frozen=True):
    pass


class TopicGone(Refusal):
    """The topic has been withdrawn: nothing about it changes any more."""

    code, status, title = "topic-withdrawn", 409, "The topic has been withdrawn"


class TooManySchemas(Refusal):
    code, status, title = "too-many-schemas", 409, "The topic has as many versions of its schema as it may"


class SchemaIncompatible(Refusal):
    """Events that were valid may not be valid under the new version; each place is named."""

    code, status, title = "schema-incompatible", 409, "The schema would refuse events that are valid now"


def describe(
    topic_id: str, workspace_id: str, integration_id: str, name: str, wanted: TopicTerms, schema: Schema | None = None
) -> list[TopicEvent]:
    """A new topic, with the first version of its schema if there is one."""
    named: list[Fault] = [] if is_topic(name) else [("/name", "A topic is segments of [A-Za-z0-9_-] with / between.")]
    _demand(*named, *_terms_faults(wanted), *(_schema_faults(schema) if schema is not None else ()))
    described = TopicDescribed(
        workspace_id=workspace_id, topic_id=topic_id, integration_id=integration_id, name=name, terms=wanted
    )
    if schema is None:
        return [described]
    return [described, _version(workspace_id, integration_id, topic_id, 1, AddSchema(schema))]


def decide(topic: Topic, command: TopicTerms | AddSchema | WithdrawTopic) -> list[TopicEvent]:
    """Withdrawing a withdrawn topic changes nothing, nor does adding the newest schema once more."""
    this = {"workspace_id": topic.workspace_id, "topic_id": topic.id, "integration_id": topic.integration_id}
    if isinstance(command, WithdrawTopic):
        return [] if topic.status == "withdrawn" else [TopicWithdrawn(**this)]
    if topic.status == "withdrawn":
        raise TopicGone("Describe it anew.")
    match command:
        case TopicTerms():
            _demand(*_terms_faults(command))
            # as JSON: Python takes true for 1
            same = encode(command) == encode(topic.terms)
            return [] if same else [TopicChanged(before=topic.terms, after=command, **this)]
        case AddSchema():
            added = _added(topic, command)
            wanted = topic.terms
            if command.examples is not None:
                wanted = msgspec.structs.replace(topic.terms, examples=command.examples)
            return [*decide(topic, wanted), *added]
        case _:
            assert_never(command)


def _added(topic: Topic, command: AddSchema) -> list[TopicEvent]:
    _demand(*_schema_faults(command.schema))
    newest = topic.newest
    if newest is not None and encode(newest.schema) == encode(command.schema):
        return []
    if len(topic.schemas) == VERSIONS or (
        sum(len(encode(each.schema)) for each in topic.schemas) + len(encode(command.schema)) > SCHEMAS_BYTES
    ):
        raise TooManySchemas(f"A topic has {VERSIONS} versions at the most, of {SCHEMAS_BYTES} bytes together.")
    if command.compatibility == "backward" and (faults := places(newest, command.schema)):
        raise SchemaIncompatible(
            "Whatever is valid under the newest version must stay valid. Change these places, or promise nothing: "
            '"compatibility": "none".',
            *faults,
        )
    return [_version(topic.workspace_id, topic.integration_id, topic.id, len(topic.schemas) + 1, command)]


def _version(
    workspace_id: str, integration_id: str, topic_id: str, version: int, command: AddSchema
) -> TopicSchemaAdded:
    return TopicSchemaAdded(
        workspace_id=workspace_id,
        topic_id=topic_id,
        integration_id=integration_id,
        version=version,
        schema=command.schema,
        compatibility=command.compatibility,
    )


def places(before: SchemaVersion | None, schema: Schema) -> list[Fault]:
    """Where a schema may refuse what the version before accepts: pointers into it as a field `schema`."""
    found = [] if before is None else incompatibilities(before.schema, schema)
    return [(f"/schema{at}", said) for at, said in found]


def demand_schema(schema: Schema) -> None:
    """That it is one that the catalogue takes, as far as that can be told without the meta-schema. Raises `Invalid`."""
    _demand(*_schema_faults(schema))


def _schema_faults(schema: Schema) -> list[Fault]:
    faults = [*json_faults("/schema", schema, most=SCHEMA_BYTES, levels=LEVELS)]
    return faults or [*schema_faults("/schema", schema)]


def _terms_faults(wanted: TopicTerms) -> list[Fault]:
    faults = [*text_faults("/description", wanted.description, most=DESCRIPTION_LENGTH, lines=True)]
    if len(wanted.examples) > EXAMPLES:
        faults.append(("/examples", f"Give {EXAMPLES} examples at the most."))
    return [*faults, *json_faults("/examples", [*wanted.examples], most=EXAMPLES_BYTES, levels=LEVELS)]


def _demand(*faults: Fault) -> None:
    if faults:
        raise Invalid("The topic can't be like this.", *faults)


def evolve(state: Topic | None, event: TopicEvent, at: datetime) -> Topic:
    match event:
        case TopicDescribed():
            return Topic(event.topic_id, event.workspace_id, event.integration_id, event.name, event.terms)
        case _ if state is None:
            raise ValueError(f"{event.type} before the topic was described")
        case TopicChanged():
            return msgspec.structs.replace(state, terms=event.after)
        case TopicSchemaAdded():
            added = SchemaVersion(event.version, event.schema, at, event.compatibility)
            return msgspec.structs.replace(state, schemas=(*state.schemas, added))
        case TopicWithdrawn():
            return msgspec.structs.replace(state, status="withdrawn")
        case _:
            assert_never(event)

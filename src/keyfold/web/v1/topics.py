"""The topic catalogue of an integration: what its partners' apps send and receive, and in which shape."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, UnsetType

from keyfold.app.catalogue import may
from keyfold.app.subjects import load_subject
from keyfold.app.topic_views import CheckView, KeyTopicView, TopicSummary, TopicView
from keyfold.app.topics import check
from keyfold.app.views import IntegrationView
from keyfold.domain.aggregates import INTEGRATION, KEY, TOPIC
from keyfold.domain.judgement import Subject
from keyfold.domain.key_state import Key
from keyfold.domain.moment import Moment
from keyfold.domain.topic_entry import EXAMPLES, AddSchema, Compatibility, Direction, Topic, TopicTerms
from keyfold.domain.topics import TOPIC_LENGTH
from keyfold.web.auth import SELF, caller, services
from keyfold.web.v1.common import (
    AsOf,
    Body,
    CursorParameter,
    Description,
    Envelope,
    Limit,
    ListEnvelope,
    MinPosition,
    answered,
    listed,
    moment_of,
    seen,
    seen_at,
    shown,
)
from keyfold.web.v1.patching import patched

Req = Request[Any, Any, Any]
TopicName = Annotated[str, msgspec.Meta(min_length=1, max_length=TOPIC_LENGTH)]
Examples = Annotated[tuple[Any, ...], msgspec.Meta(max_length=EXAMPLES)]


class TopicDocument(Body, frozen=True, kw_only=True):
    """The whole of what a patch is merged into."""

    description: Description = ""
    direction: Direction = "both"
    examples: Examples = ()
    deprecated: bool = False

    def terms(self) -> TopicTerms:
        return TopicTerms(**{name: getattr(self, name) for name in TopicDocument.__struct_fields__})

    @classmethod
    def of(cls, topic: Topic) -> "TopicDocument":
        return TopicDocument(**msgspec.structs.asdict(topic.terms))


class TopicBody(TopicDocument, frozen=True, kw_only=True):
    """`direction` is as the partner sees it. `schema` is the first version, of JSON Schema 2020-12."""

    name: TopicName
    schema: dict[str, Any] | None = None


class TopicPatch(Body, frozen=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays, `null` takes away."""

    description: Description | UnsetType | None = UNSET
    direction: Direction | UnsetType = UNSET
    examples: Examples | UnsetType | None = UNSET
    deprecated: bool | UnsetType = UNSET


class SchemaBody(Body, frozen=True, kw_only=True):
    """`compatibility` says what is promised of the version before; `none` is recorded. `examples` replace those that
    the new version wouldn't accept."""

    schema: dict[str, Any]
    compatibility: Compatibility = "backward"
    examples: Examples | None = None


class CheckBody(Body, frozen=True, kw_only=True):
    """`examples` are held to `schema`, or to the newest version where none is given."""

    schema: dict[str, Any] | None = None
    examples: Examples = ()


class TopicController(Controller):
    tags = ("Topics",)

    @post("/integrations/{integration_id:str}/topics", opt={"permission": "integrations:change"}, summary="Add a topic")
    async def describe(
        self, request: Req, integration_id: FromPath[str], data: JSONBody[TopicBody]
    ) -> Response[Envelope[TopicView]]:
        """To the catalogue of an integration. From then on, events on it are held to its schema, if it has one."""
        by = await caller(request, creates=True)
        answer = await services(request).topics.describe(by, integration_id, data.name, data.terms(), data.schema)
        return answered(answer, 201)

    @get("/integrations/{integration_id:str}/topics", opt={"permission": "integrations:read"}, summary="List topics")
    async def topics(
        self,
        request: Req,
        integration_id: FromPath[str],
        status: FromQuery[Literal["active", "withdrawn"]] = "active",
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[TopicSummary]:
        """Of an integration, newest first."""
        await shown(request, INTEGRATION, IntegrationView.of, integration_id, as_of)
        return await listed(
            request,
            TOPIC,
            TopicSummary.of,
            {"integration_id = $?": integration_id},
            status=status,
            cursor=cursor,
            min_position=min_position,
            limit=limit,
            at=await moment_of(request, as_of),
        )

    @get("/topics/{topic_id:str}", opt={"permission": "integrations:read"}, summary="Read a topic")
    async def topic(self, request: Req, topic_id: FromPath[str], as_of: AsOf = None) -> Response[Envelope[TopicView]]:
        """With all versions of its schema, and its own version as `ETag`, for a change."""
        return await shown(request, TOPIC, TopicView.of, topic_id, as_of)

    @patch("/topics/{topic_id:str}", opt={"permission": "integrations:change"}, summary="Change a topic")
    async def change(
        self, request: Req, topic_id: FromPath[str], data: JSONBody[TopicPatch]
    ) -> Response[Envelope[TopicView]]:
        """A merge patch (RFC 7396) with the header `If-Match`. Its name and its schemas stay as they are."""
        whole, version = await patched(request, TOPIC, topic_id, data, TopicDocument.of)
        answer = await services(request).topics.change(await caller(request), topic_id, whole.terms(), version=version)
        return answered(answer, of=topic_id)

    @delete(
        "/topics/{topic_id:str}", status_code=200, opt={"permission": "integrations:change"}, summary="Withdraw a topic"
    )
    async def withdraw(self, request: Req, topic_id: FromPath[str]) -> Response[Envelope[TopicView]]:
        """Events on it are held to no schema any more, and its name is free. What keys may do stays as it is."""
        return answered(await services(request).topics.withdraw(await caller(request), topic_id))

    @post("/topics/{topic_id:str}/schemas", opt={"permission": "integrations:change"}, summary="Add a schema version")
    async def add_schema(
        self, request: Req, topic_id: FromPath[str], data: JSONBody[SchemaBody]
    ) -> Response[Envelope[TopicView]]:
        """Events are held to it from now on. It must accept whatever the version before accepted, unless no such
        promise is asked for; 409 names each place where it may not."""
        by = await caller(request, creates=True)
        wanted = AddSchema(data.schema, data.compatibility, data.examples)
        return answered(await services(request).topics.add_schema(by, topic_id, wanted), 201)

    @post(
        "/topics/{topic_id:str}/check", status_code=200, opt={"permission": "integrations:read"}, summary="Try a schema"
    )
    async def check(self, request: Req, topic_id: FromPath[str], data: JSONBody[CheckBody]) -> Envelope[CheckView]:
        """Whether it could be the next version, and whether events like the examples would be valid: a dry run."""
        topic, _ = await seen(request, TOPIC, topic_id)
        return Envelope(check(topic, data.schema, data.examples))


class KeyTopicController(Controller):
    path = "/keys"
    tags = ("Topics",)

    @get("/self/topics", opt={"permission": SELF}, summary="List the topics of the key that asks")
    async def of_myself(
        self,
        request: Req,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[KeyTopicView]:
        """What of the catalogue it may send and receive right now, with schemas and examples. A page may be shorter
        than its `limit`; what counts is whether it has a `nextCursor`."""
        key_id = (await caller(request)).cause.actor.id
        return await _of_key(request, key_id, as_of, cursor=cursor, min_position=min_position, limit=limit)

    @get("/{key_id:str}/topics", opt={"permission": "keys:read"}, summary="List the topics of a key")
    async def of_key(
        self,
        request: Req,
        key_id: FromPath[str],
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[KeyTopicView]:
        """What of its integration's catalogue the key may send and receive right now."""
        return await _of_key(request, key_id, as_of, cursor=cursor, min_position=min_position, limit=limit)


async def _of_key(request: Req, key_id: str, as_of: str | None, **page: Any) -> ListEnvelope[KeyTopicView]:
    at = await moment_of(request, as_of)
    key, subject = await _subject(request, key_id, at)
    if key.kind != "service" or subject is None:
        return ListEnvelope([], None)
    found = await listed(
        request,
        TOPIC,
        lambda topic, now: KeyTopicView.of(
            topic, send=may(subject, "send", topic.name, now), receive=may(subject, "receive", topic.name, now)
        ),
        {"integration_id = $?": key.integration_id},
        status="active",
        at=at,
        **page,
    )
    return ListEnvelope([each for each in found.data if each.send or each.receive], found.next_cursor)


async def _subject(request: Req, key_id: str, at: Moment | None) -> tuple[Key, Subject | None]:
    """A key that the caller may see, with all that it is judged by, of now or of a moment."""
    of = services(request)
    if at is None:
        key, _ = await seen(request, KEY, key_id)
        known = await of.verifier.find_id(key_id)
        return key, known.subject if known else None
    key = await seen_at(request, KEY, key_id, at)
    subject, _ = await load_subject(lambda aggregate, stream: of.past.load(aggregate, stream, at.position), key_id)
    return key, subject

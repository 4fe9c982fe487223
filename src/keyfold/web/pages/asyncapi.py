"""`/asyncapi/{integration}.json`: the topic catalogue of an integration as AsyncAPI, for those whose it is."""

from typing import Any

import msgspec
from litestar import Request, Response, route
from litestar.params import FromPath

from keyfold.app.access import Caller
from keyfold.app.asyncapi import document
from keyfold.domain import ids
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.integration import Integration
from keyfold.domain.refusals import Forbidden, NotFound
from keyfold.domain.topic_entry import Topic
from keyfold.web.auth import anybody, services
from keyfold.web.pages.content import READ, Content, deliver
from keyfold.web.services import Services
from keyfold.web.v1.common import MinPosition

_PAGE = 100


@route("/asyncapi/{name:str}", http_method=READ, include_in_schema=False)
async def asyncapi(
    request: Request[Any, Any, Any], name: FromPath[str], min_position: MinPosition = None
) -> Response[bytes]:
    """For keys that read the integration, its partners' service keys, and their portal sessions."""
    of, by, integration_id = services(request), await anybody(request), name.removesuffix(".json")
    integration, version = await _seen(of, by, integration_id)
    if min_position:
        await of.lists.include("current", min_position)
    described = document(
        integration,
        version,
        await _topics(of, integration),
        nats_url=of.settings.public_nats_url,
        public_url=of.settings.public_url,
    )
    content = Content.of(msgspec.json.encode(described), "application/json")
    return deliver(request, content, "private, no-cache")


async def _seen(of: Services, by: Caller, integration_id: str) -> tuple[Integration, int]:
    is_guest = by.key_id is not None or by.only_narrows
    if not is_guest and "integrations:read" not in by.permissions:
        raise Forbidden.lacking("integrations:read")
    if ids.is_id(INTEGRATION.prefix, integration_id):
        loaded = await of.journal.load(INTEGRATION, integration_id)
        if loaded.state is not None and (by.sees(loaded.state) or await _is_of(of, by, integration_id)):
            return loaded.state, loaded.version
    raise NotFound.of(INTEGRATION.word, integration_id)


async def _is_of(of: Services, by: Caller, integration_id: str) -> bool:
    """Whether the caller is a service key of this integration's."""
    known = await of.verifier.find_id(by.key_id) if by.key_id is not None else None
    return known is not None and known.subject.key.integration_id == integration_id


async def _topics(of: Services, integration: Integration) -> list[Topic]:
    topics: list[Topic] = []
    its, cursor = {"integration_id = $?": integration.id}, None
    while True:
        page = await of.lists.page(
            TOPIC.prefix,
            integration.workspace_id,
            its,
            status="active",
            now=of.clock(),
            cursor=cursor,
            limit=_PAGE,
        )
        topics += (msgspec.structs.replace(each, schemas=each.schemas[-1:]) for each in page.items)
        cursor = page.next_cursor
        if cursor is None:
            return topics

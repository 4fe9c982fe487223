"""Access keys: issued, handed on in part, listed, read, changed."""

from typing import Any

import msgspec
from litestar import Controller, Request, Response, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from keyfold.app.usage import KeyUsage
from keyfold.app.views import IssuedKeyView, KeyView
from keyfold.domain.aggregates import KEY
from keyfold.domain.judgement import Question
from keyfold.domain.key_events import KeyKind
from keyfold.domain.key_state import KeyStatus
from keyfold.domain.permissions import Environment
from keyfold.domain.refusals import Invalid
from keyfold.store.key_filter import KeyFilter
from keyfold.web.auth import SELF, caller, services
from keyfold.web.v1.common import (
    AsOf,
    CursorParameter,
    Envelope,
    IntegrationFilter,
    Limit,
    ListEnvelope,
    MinPosition,
    PartnerFilter,
    answered,
    etag,
    listed,
    moment_of,
    secret,
    seen,
    shown,
    utc,
)
from keyfold.web.v1.key_bodies import DelegateBody, KeyBody, KeyDocumentBody, KeyPatch
from keyfold.web.v1.key_search import (
    ActionFilter,
    ExpiresWithin,
    IdleDays,
    IssuedBefore,
    NamePart,
    OverWideDays,
    ParentFilter,
    RoleFilter,
    RotationDueWithin,
    TagFilter,
    TopicFilter,
    permitted,
    question,
)
from keyfold.web.v1.patching import patched

Req = Request[Any, Any, Any]


class KeyController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/", opt={"permission": "keys:issue"}, summary="Issue a key")
    async def issue(self, request: Req, data: JSONBody[KeyBody]) -> Response[Envelope[IssuedKeyView]]:
        """The `secret` is shown this once. A partner's key gets what its integration's rule gives, never more."""
        by = await caller(request, creates=True)
        return secret(answered(await services(request).keys.issue(by, data.new_key()), 201))

    @get("/", opt={"permission": "keys:read"}, summary="List keys")
    async def keys(
        self,
        request: Req,
        status: FromQuery[KeyStatus | None] = None,
        kind: FromQuery[KeyKind | None] = None,
        environment: FromQuery[Environment | None] = None,
        integration_id: IntegrationFilter = None,
        partner_id: PartnerFilter = None,
        parent_id: ParentFilter = None,
        tag: TagFilter = None,
        role: RoleFilter = None,
        q: NamePart = None,
        issued_before: IssuedBefore = None,
        expires_within_days: ExpiresWithin = None,
        rotation_due_within_days: RotationDueWithin = None,
        idle_days: IdleDays = None,
        over_wide_days: OverWideDays = None,
        action: ActionFilter = None,
        topic: TopicFilter = None,
        cursor: CursorParameter = None,
        min_position: MinPosition = None,
        as_of: AsOf = None,
        limit: Limit = 50,
    ) -> ListEnvelope[KeyView]:
        """Newest first. What is asked for must hold all together; what counts days finds keys that haven't ended.

        With `action`, and `topic`, the keys that may do that now: exact, whatever was written a moment ago. A key that
        is bound to networks may from there. A page of many candidates can then be shorter than its `limit`; what counts
        is whether it has a `nextCursor`. Of the past it isn't known how keys were used."""
        filters = KeyFilter(
            kind=kind,
            environment=environment,
            integration_id=integration_id,
            partner_id=partner_id,
            parent_id=parent_id,
            tag=tag,
            role=role,
            q=q,
            issued_before=utc("?issuedBefore", issued_before),
            expires_within_days=expires_within_days,
            rotation_due_within_days=rotation_due_within_days,
            idle_days=idle_days,
            over_wide_days=over_wide_days,
        )
        page: Any = {"status": status, "cursor": cursor, "min_position": min_position, "limit": limit}
        return await found(request, filters, question(action, topic), as_of, **page)

    @get("/{key_id:str}", opt={"permission": "keys:read"}, summary="Read a key")
    async def key(self, request: Req, key_id: FromPath[str], as_of: AsOf = None) -> Response[Envelope[KeyView]]:
        """With its version as `ETag`, for a change."""
        return await _shown(request, key_id, as_of)

    @get("/{key_id:str}/usage", opt={"permission": "keys:read"}, summary="Read how a key was used")
    async def usage(self, request: Req, key_id: FromPath[str]) -> Envelope[KeyUsage]:
        """Counts by outcome since the key was issued, and the last use of each action; some seconds old at the most."""
        await seen(request, KEY, key_id)
        return Envelope((await services(request).usage_store.of([key_id]))[key_id])

    @get("/self", opt={"permission": SELF}, summary="Read the key that asks")
    async def myself(self, request: Req, as_of: AsOf = None) -> Response[Envelope[KeyView]]:
        """What the key that this request is made with is, and may do."""
        return await _shown(request, (await caller(request)).cause.actor.id, as_of)

    @patch("/{key_id:str}", opt={"permission": "keys:change"}, summary="Change a key")
    async def change(
        self, request: Req, key_id: FromPath[str], data: JSONBody[KeyPatch]
    ) -> Response[Envelope[KeyView]]:
        """A merge patch (RFC 7396) with the header `If-Match`. Never to more than the integration's rule, or the key
        that this one was handed on by, gives."""
        whole, version = await patched(request, KEY, key_id, data, KeyDocumentBody.of)
        this, _ = await seen(request, KEY, key_id)
        by = await caller(request)
        answer = await services(request).key_life.change(
            by, key_id, whole.document(this), version=version, is_active=whole.is_active
        )
        return answered(answer, of=key_id)

    @post("/{key_id:str}/delegate", opt={"permission": "keys:delegate"}, summary="Hand on a part of a key")
    async def delegate(
        self, request: Req, key_id: FromPath[str], data: JSONBody[DelegateBody]
    ) -> Response[Envelope[IssuedKeyView]]:
        """A key under this one, with as much or less. It dies, suspends and narrows with it."""
        by = await caller(request, creates=True)
        return secret(answered(await services(request).keys.delegate(by, key_id, data.new_key()), 201))

    @post("/self/delegate", opt={"permission": SELF}, summary="Hand on a part of the key that asks")
    async def delegate_myself(self, request: Req, data: JSONBody[DelegateBody]) -> Response[Envelope[IssuedKeyView]]:
        """A key under the one that this request is made with."""
        by = await caller(request, creates=True)
        return secret(answered(await services(request).keys.delegate(by, by.cause.actor.id, data.new_key()), 201))


async def found(
    request: Req, filters: KeyFilter, asked: Question | None, as_of: str | None, **page: Any
) -> ListEnvelope[KeyView]:
    """A page of keys, now with the time of their last use. `page` has status, cursor, min_position and limit."""
    at = await moment_of(request, as_of)
    if at is not None:
        demand_known(filters)
    now = at.time if at else services(request).clock()
    if asked is not None:
        these = await permitted(request, asked, filters, at=at, **page)
        views, more = [KeyView.of(each, now) for each in these.items], these.next_cursor
    else:
        answer = await listed(request, KEY, KeyView.of, filters.conditions(now), at=at, **page)
        views, more = answer.data, answer.next_cursor
    return ListEnvelope(views if at else await with_usage(request, views), more)


async def with_usage(request: Req, views: list[KeyView]) -> list[KeyView]:
    """The same with the time of their last use."""
    used = await services(request).usage_store.of([view.id for view in views])
    return [msgspec.structs.replace(view, last_used_at=used[view.id].last_used_at) for view in views]


def demand_known(filters: KeyFilter) -> None:
    """That nothing is asked of the past which was only observed. Raises `Invalid`."""
    asked = {"idleDays": filters.idle_days, "overWideDays": filters.over_wide_days}
    wrong = [f"?{name}" for name, days in asked.items() if days is not None]
    if wrong:
        raise Invalid(
            "How keys were used is not known of the past.", *[(each, "Leave it out, or `asOf`.") for each in wrong]
        )


async def _shown(request: Req, key_id: str, as_of: str | None) -> Response[Envelope[KeyView]]:
    if as_of is not None:
        return await shown(request, KEY, KeyView.of, key_id, as_of)
    state, version = await seen(request, KEY, key_id)
    (view,) = await with_usage(request, [KeyView.of(state, services(request).clock())])
    return Response(Envelope(view), headers={"ETag": etag(version)})

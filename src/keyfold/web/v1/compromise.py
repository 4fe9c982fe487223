"""Keys in the wrong hands: reported, replaced, and what else they, or whoever had them, have touched."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Request, Response, get, post
from litestar.params import FromPath, JSONBody, QueryParameter

from keyfold.app.compromise import CompromisedView, RelatedView
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import Body, Envelope, MinPosition, Reason, answered, secret, utc
from keyfold.web.v1.key_bodies import Moment

Req = Request[Any, Any, Any]


class CompromiseBody(Body, frozen=True, kw_only=True):
    """`replace` issues a key like it, which gets nothing that the old one didn't have. `since` is from when on others
    may have had the key; left out, since it was issued."""

    reason: Reason
    replace: bool = False
    since: Moment | None = None


class CompromiseController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post(
        "/{key_id:str}/compromise",
        status_code=200,
        opt={"permission": "keys:compromise"},
        summary="Report a key as compromised",
    )
    async def compromise(
        self, request: Req, key_id: FromPath[str], data: JSONBody[CompromiseBody]
    ) -> Response[Envelope[CompromisedView]]:
        """Final, in force when this answers, and without an overlap; what the key was handed on to is revoked with it.
        The `replacement`'s secret is shown this once. `related` are keys issued by this one, or issued or used from
        where it was used."""
        by = await caller(request, creates=True)
        since = utc("/since", data.since)
        answer = await services(request).compromise.report(by, key_id, data.reason, replace=data.replace, since=since)
        return secret(answered(answer))

    @get("/{key_id:str}/related", opt={"permission": "keys:compromise"}, summary="List keys related to a key")
    async def related(
        self,
        request: Req,
        key_id: FromPath[str],
        since: Annotated[datetime | None, QueryParameter(description="Left out, since the key was issued.")] = None,
        min_position: MinPosition = None,
    ) -> Envelope[list[RelatedView]]:
        """Other keys that were issued by this one, issued from where it was used, or used from there; newest first."""
        if min_position:
            await services(request).lists.include("audit", min_position)
        return Envelope(await services(request).compromise.related(await caller(request), key_id, utc("?since", since)))

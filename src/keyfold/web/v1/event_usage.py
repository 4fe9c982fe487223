"""How keys were used for events, over time."""

from datetime import datetime
from typing import Annotated, Any

from litestar import Controller, Request, get
from litestar.params import FromPath, FromQuery, QueryParameter

from keyfold.app.usage_report import EventUsageView, Resolution, span
from keyfold.domain.aggregates import KEY, PARTNER
from keyfold.web.auth import SELF, caller, services
from keyfold.web.v1.common import Envelope, seen, utc

Req = Request[Any, Any, Any]
From = Annotated[datetime | None, QueryParameter(name="from", description="From this step on.")]
By = FromQuery[Resolution]
To = Annotated[datetime | None, QueryParameter(description="Up to the end of this step; now if left out.")]


class EventUsageController(Controller):
    path = "/"
    tags = ("Usage",)

    @get("/keys/{key_id:str}/events-usage", opt={"permission": "keys:read"}, summary="Read how a key used events")
    async def of_key(
        self,
        request: Req,
        key_id: FromPath[str],
        since: From = None,
        to: To = None,
        resolution: FromQuery[Resolution] = "hour",
    ) -> Envelope[EventUsageView]:
        """Events and bytes by step and outcome, in UTC, and how long they took.

        Some seconds old; what an app takes from NATS itself, up to 15. Minutes are kept for 14 days and hours for 400:
        before that, everything stands at the beginning of its hour.
        """
        await seen(request, KEY, key_id)
        return await _report(request, [key_id], since, to, resolution)

    @get("/keys/self/events-usage", opt={"permission": SELF}, summary="Read how the key that asks used events")
    async def of_myself(
        self, request: Req, since: From = None, to: To = None, resolution: By = "hour"
    ) -> Envelope[EventUsageView]:
        """The same for the key that this request is made with."""
        return await _report(request, [(await caller(request)).cause.actor.id], since, to, resolution)

    @get(
        "/partners/{partner_id:str}/events-usage",
        opt={"permission": "keys:read"},
        summary="Read how a partner used events",
    )
    async def of_partner(
        self,
        request: Req,
        partner_id: FromPath[str],
        since: From = None,
        to: To = None,
        resolution: FromQuery[Resolution] = "hour",
    ) -> Envelope[EventUsageView]:
        """The same for all keys of the partner together, as far as the caller sees them."""
        await seen(request, PARTNER, partner_id)
        by = await caller(request)
        keys = await services(request).event_usage_store.keys_of(
            by.workspace_id, partner_id, by.bounds().get("environment")
        )
        return await _report(request, keys, since, to, resolution)


async def _report(
    request: Req, key_ids: list[str], since: datetime | None, to: datetime | None, resolution: Resolution
) -> Envelope[EventUsageView]:
    of = services(request)
    asked = span(utc("?from", since), utc("?to", to), resolution, of.clock())
    return Envelope(await of.event_usage_store.report(key_ids, asked))

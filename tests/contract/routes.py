"""Every route of the API as the application has it, and the body that it takes: a new one fails until it is added."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import httpx
from litestar import Litestar
from litestar.routes import HTTPRoute

from keyfold.web.app import litestar_app

from .tenant import PARTNER, Tenant

NOWHERE = "01h455vb4pex5vsknk084sn02q"
"""The end of an id that nothing has."""


QUERIES = {
    "/api/v1/lifecycle/stream": {"live": "false"},
    "/api/v1/audit/stream": {"live": "false"},
    "/api/v1/events/stream": {"from": "nowhere"},
    "/api/v1/audit/changes": {"from": "0"},
    "/api/v1/portal/topics": {"environment": "dev"},
    "/api/v1/portal/events/stream": {"environment": "dev", "from": "nowhere"},
    "/api/v1/audit/holders": {"action": "send"},
}
"""What a route needs in order to answer, and end."""

NAMES = {"consumer_name": "nobody", "sequence": "1"}
"""Parameters of paths that are no ids, but mean something below the key that asks: each of nothing that it has."""


class Things(NamedTuple):
    """One of each, by the names that routes give to their ids, and in the end what only a body takes."""

    integration_id: str
    partner_id: str
    link_id: str
    key_id: str
    role_id: str
    topic_id: str
    event_id: str
    target_id: str

    def nowhere(self) -> "Things":
        """Ids of the same kinds that nothing has."""
        return Things(*(f"{each.partition('_')[0]}_{NOWHERE}" for each in self))


class Route(NamedTuple):
    """`path` has its parameters in braces, as `names` has them."""

    method: str
    path: str
    names: tuple[str, ...]
    permission: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    async def ask(self, api: httpx.AsyncClient, things: Things, headers: Mapping[str, str]) -> httpx.Response:
        """Asked of these things, with all that a request needs to get as far as them."""
        unknown = {*self.names} - {*Things._fields} - {*NAMES}
        assert not unknown, f"{self} takes {unknown}: add one to Things and things_of() in tests/contract/routes.py."
        if self.method == "PATCH":
            headers = {"If-Match": "*", **headers}
        return await api.request(
            self.method,
            self.at(things),
            json=self.body(things),
            headers=headers,
            params=QUERIES.get(self.path),
        )

    def at(self, things: Things) -> str:
        return self.path.format(**things._asdict(), **NAMES)

    def body(self, things: Things) -> Any:
        if self.method not in ("POST", "PATCH", "PUT"):
            return None
        known = bodies(things)
        assert (self.method, self.path) in known, f"{self} is new: add a body to bodies() in tests/contract/routes.py."
        return known[self.method, self.path]


@cache
def application() -> Litestar:
    """The application around nothing. Its routes are those around anything, and to make one takes half a second."""
    nothing: Any = None
    return litestar_app(nothing)


def routes() -> list[Route]:
    """Every method of every path."""
    return [
        Route(method, route.path_format, tuple(route.path_parameters), handler.opt["permission"])
        for route in application().routes
        if isinstance(route, HTTPRoute) and route.path.startswith("/api/")
        for handler in route.route_handlers
        for method in sorted(handler.http_methods - {"OPTIONS"})
    ]


def bodies(of: Things) -> dict[tuple[str, str], Any]:
    """A body for each route that takes one: well-formed, and harmless to whoever asks."""
    service = {"kind": "service", "environment": "dev", "partnerId": of.partner_id}
    return {
        ("POST", PARTNER): {},
        ("POST", "/api/v1/onboarding/preview"): {"token": "kfl_no"},
        ("POST", "/api/v1/onboarding/redeem"): {"token": "kfl_no"},
        ("POST", "/api/v1/integrations"): {"name": "another"},
        ("PATCH", "/api/v1/integrations/{integration_id}"): {"name": "another"},
        ("POST", "/api/v1/links/{link_id}/withdraw"): {"reason": "test"},
        ("POST", "/api/v1/partners/{partner_id}/erase"): {"reason": "test"},
        ("POST", "/api/v1/partners/{partner_id}/links"): {},
        ("POST", "/api/v1/console/links"): {},
        ("POST", "/api/v1/portal/events/test"): {"environment": "dev", "keyId": of.key_id, "topic": "app/test"},
        **{
            ("POST", f"/api/v1/portal/dead-letters/{what}"): {"keyId": of.key_id, "consumer": "nobody", "sequence": 1}
            for what in ("redrive", "discard")
        },
        ("POST", "/api/v1/keys"): service,
        ("PATCH", "/api/v1/keys/{key_id}"): {"purpose": "test"},
        ("POST", "/api/v1/keys/{key_id}/delegate"): {},
        ("POST", "/api/v1/keys/self/delegate"): {},
        ("POST", "/api/v1/keys/{key_id}/suspend"): {"reason": "test"},
        ("POST", "/api/v1/keys/{key_id}/reinstate"): {},
        ("POST", "/api/v1/keys/{key_id}/revoke"): {"reason": "test"},
        ("POST", "/api/v1/keys/{key_id}/rotate"): {},
        ("POST", "/api/v1/keys/self/rotate"): {"overlapStarts": "first-use"},
        ("POST", "/api/v1/keys/{key_id}/compromise"): {"reason": "test"},
        ("POST", "/api/v1/keys/{key_id}/promote"): {"toKeyId": of.target_id},
        ("POST", "/api/v1/keys/bulk"): {"action": "reinstate", "filter": {"tag": "none has this"}},
        ("POST", "/api/v1/keys/explain"): {"keyId": of.key_id},
        ("POST", "/api/v1/keys/verify"): {"key": "kf_no"},
        ("POST", "/api/v1/events"): {"specversion": "1.0"},
        ("POST", "/api/v1/consumers"): {"name": "No"},
        **{
            ("POST", f"/api/v1/consumers/{{consumer_name}}/{what}"): {"tokens": ["1.1.1.1.1"]}
            for what in ("ack", "nack", "terminate", "extend")
        },
        ("POST", "/api/v1/consumers/{consumer_name}/pull"): {"waitSeconds": 0},
        ("POST", "/api/v1/consumers/{consumer_name}/seek"): {"from": "end"},
        ("POST", "/api/v1/consumers/{consumer_name}/dead-letters/{sequence}/redrive"): None,
        ("POST", "/api/v1/roles"): {"name": "idle", "permissions": []},
        ("PATCH", "/api/v1/roles/{role_id}"): {"description": "test"},
        ("PATCH", "/api/v1/workspace"): {"name": "another"},
        ("POST", "/api/v1/integrations/{integration_id}/topics"): {"name": "app/order/test"},
        ("PATCH", "/api/v1/topics/{topic_id}"): {"description": "test"},
        ("POST", "/api/v1/topics/{topic_id}/schemas"): {"schema": {"type": "object"}},
        ("POST", "/api/v1/topics/{topic_id}/check"): {"schema": {"type": "object"}},
    }


async def event_of(tenant: Tenant, partner_id: str) -> str:
    head = await tenant.services.journal.head()
    events = await tenant.get("/api/v1/audit/events", resourceId=partner_id, minPosition=head)
    return str(events.json()["data"][0]["id"])


async def things_of(tenant: Tenant) -> Things:
    """Fresh ones."""
    partner_id, keys = await tenant.onboard()
    role = await tenant.post("/api/v1/roles", {"name": "reader", "permissions": ["keys:read"]})
    topic = await tenant.post(f"/api/v1/integrations/{tenant.integration_id}/topics", {"name": f"app/{partner_id}"})
    links = await tenant.get("/api/v1/links", partnerId=partner_id, minPosition=await tenant.services.journal.head())
    return Things(
        integration_id=tenant.integration_id,
        partner_id=partner_id,
        link_id=links.json()["data"][0]["id"],
        key_id=keys["dev"]["id"],
        role_id=role.json()["data"]["id"],
        topic_id=topic.json()["data"]["id"],
        event_id=await event_of(tenant, partner_id),
        target_id=keys["stage"]["id"],
    )

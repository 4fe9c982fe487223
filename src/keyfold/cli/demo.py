"""`keyfold demo`: the whole journey against the running system, each step checked, by the same HTTP that anyone has."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console

from keyfold.app.keys import NewKey
from keyfold.cli.bootstrap import first_workspace
from keyfold.cli.operator import operating, operator
from keyfold.cli.system import System, data_option, find_system, opener_of
from keyfold.domain.refusals import Refusal
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.rebuild import rebuild, verify

console = Console(highlight=False, soft_wrap=True)
_INVITATION = {
    "appName": "Acme Orders",
    "appDescription": "Sends orders, receives their fulfillment.",
    "metadata": {"team": "integrations", "tier": "demo"},
}


class StepFailedError(click.ClickException):
    """A step did not hold."""


@click.command()
@data_option
def demo(data: Path | None) -> None:
    """Walk a partner's whole journey on the running system, checking every step."""
    system = find_system(data)
    try:
        asyncio.run(_demo(system))
    except httpx.TransportError as error:
        raise StepFailedError(f"{system.url} doesn't answer: {type(error).__name__}") from error
    except Refusal as refusal:
        raise StepFailedError(str(refusal)) from refusal


async def _demo(system: System) -> None:
    started = time.perf_counter()
    async with _keys(system) as (owner, integration), httpx.AsyncClient(base_url=system.url, timeout=10) as client:
        journey = Journey(client, owner, integration)
        await journey.invite()
        await journey.preview()
        await journey.redeem()
        await journey.verify()
        await journey.look_up()
        await journey.rotate()
        await journey.revoke()
        await journey.replay()
        await journey.offboard()
    await _rebuild(system)
    console.print(f"\n[bold green]All of it held[/], in {time.perf_counter() - started:.1f} s.")


@asynccontextmanager
async def _keys(system: System) -> AsyncIterator[tuple[str, str]]:
    """An owner's and an integration key for the demo alone, revoked when it ends, however it ends."""
    first = await first_workspace(system.api)
    if first is None:
        raise StepFailedError("There is no workspace yet.")
    async with operating(system.api) as services:
        caller = operator(services, first[0])
        owner = (await services.keys.issue(caller, NewKey(kind="account", name="keyfold demo", role="owner"))).view
        wanted = NewKey(kind="integration", name="keyfold demo", integration_id=first[1])
        integration = (await services.keys.issue(caller, wanted)).view
        _done("two keys for this demo", f"{owner.id}, {integration.id}")
        try:
            yield owner.secret, integration.secret
        finally:
            for key in (owner, integration):
                await services.key_life.revoke(caller, key.id, "the demo is over")


class Journey:
    """The steps, in order; each leaves what the next one needs."""

    def __init__(self, client: httpx.AsyncClient, owner: str, integration: str) -> None:
        self._client = client
        self._owner = owner
        self._integration = integration
        self._token = ""
        self._partner: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._position = 0

    async def invite(self) -> None:
        data = await self._call("POST", "/api/v1/external/partner", 201, key=self._integration, json=_INVITATION)
        _hold(set(data) == {"id", "url", "expiresAt"}, f"the answer has other fields: {sorted(data)}")
        self._token = data["url"].partition("#")[2]
        _hold(self._token.startswith("kfl_"), "the link has no token in its fragment")
        _done("a link, by the request of the partner guide", f"{data['id']}, until {data['expiresAt']}")

    async def preview(self) -> None:
        for _ in range(2):  # looking twice spends nothing
            data = await self._call("POST", "/api/v1/onboarding/preview", 200, json={"token": self._token})
        _hold(data["appName"] == _INVITATION["appName"], "the preview shows another app")
        _done("previewed, nothing spent", f"{data['integration']['name']} for {data['appName']}")

    async def redeem(self) -> None:
        data = await self._call("POST", "/api/v1/onboarding/redeem", 201, json={"token": self._token})
        self._partner, self._keys = data["partner"], data["keys"]
        held = {key["environment"] for key in self._keys}
        _hold(held == {"dev", "stage", "prod"}, f"keys for {sorted(held)} instead of dev, stage and prod")
        _done("redeemed", ", ".join(f"{key['environment']} {_shortened(key['secret'])}" for key in self._keys))
        again = await self._client.post("/api/v1/onboarding/redeem", json={"token": self._token})
        _hold((again.status_code, again.json().get("code")) == (410, "link-used"), "the link could be used again")
        _done("a second redemption", "refused: 410 link-used")

    async def verify(self) -> None:
        data = await self._verdict()
        _hold(data["valid"], f"the key is not valid: {data['code']}")
        _done("verified", f"{data['keyId']} may send on app/order/created in {data['environment']}")

    async def look_up(self) -> None:
        of = {"partnerId": self._partner["id"], "minPosition": self._position}
        listed = await self._call("GET", "/api/v1/keys", 200, key=self._owner, params=of)
        _hold({key["id"] for key in listed} == {key["id"] for key in self._keys}, "the key list differs")
        _done("in the key list", f"{len(listed)} keys")
        trail = await self._call("GET", "/api/v1/audit/events", 200, key=self._owner, params=of)
        _hold("partner.onboarded.v1" in {event["type"] for event in trail}, "the audit trail lacks the onboarding")
        _done("in the audit trail", f"{len(trail)} events")

    async def rotate(self) -> None:
        old = self._prod
        path = f"/api/v1/keys/{old['id']}/rotate"
        new = await self._call("POST", path, 201, key=self._owner, json={"overlapSeconds": 60, "overlapStarts": "now"})
        for which in (old, new):
            _hold((await self._verdict(which))["valid"], f"{which['id']} isn't valid inside the overlap")
        self._keys[self._keys.index(old)] = new
        until = new["predecessor"]["retiresAt"]
        _done("rotated, no request lost", f"{new['id']} follows; both are valid until {until}")

    async def revoke(self) -> None:
        path = f"/api/v1/keys/{self._prod['id']}/revoke"
        await self._call("POST", path, 200, key=self._owner, json={"reason": "keyfold demo"})
        revoked = time.perf_counter()
        data = await self._verdict()
        _hold(data == {**data, "valid": False, "code": "revoked"}, f"after the revocation it is {data['code']}")
        _done("revoked, and refused", f"{(time.perf_counter() - revoked) * 1000:.1f} ms after the revocation's answer")

    async def replay(self) -> None:
        of = {"partnerId": self._partner["id"], "minPosition": self._position, "order": "asc"}
        story = await self._call("GET", "/api/v1/audit/events", 200, key=self._owner, params=of)
        console.print("  [dim]the history of this partner:[/]")
        for event in story:
            actor = f"{event['actor']['kind']} {event['actor']['id']}"
            console.print(f"  [dim]{event['position']:>6}  {event['time']}  {event['type']:<22} {actor}[/]")
        kinds = [event["type"] for event in story]
        _hold(kinds[0] == "partner.invited.v1" and kinds[-1] == "key.revoked.v1", f"the history is {kinds}")
        _done("replayed", f"{len(story)} events, from the invitation to the revocation")

    async def offboard(self) -> None:
        data = await self._call("DELETE", f"/api/v1/partners/{self._partner['id']}", 200, key=self._owner)
        _hold(len(data["revokedKeys"]) == 3, f"{len(data['revokedKeys'])} keys died instead of 3")
        _done("offboarded", "the other three keys died with it")

    @property
    def _prod(self) -> dict[str, Any]:
        return next(key for key in self._keys if key["environment"] == "prod")

    async def _verdict(self, of: dict[str, Any] | None = None) -> Any:
        asked = {"key": (of or self._prod)["secret"], "action": "send", "topic": "app/order/created"}
        return await self._call("POST", "/api/v1/keys/verify", 200, key=self._owner, json=asked)

    async def _call(self, method: str, path: str, status: int, *, key: str = "", **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        answer = await self._client.request(method, path, headers=headers, **more)
        if answer.status_code != status:
            detail = ""
            with suppress(ValueError):
                detail = answer.json().get("detail", "")
            raise StepFailedError(f"{method} {path} answered {answer.status_code} instead of {status}. {detail}")
        self._position = int(answer.headers.get("Keyfold-Position", self._position))
        return answer.json()["data"]


async def _rebuild(system: System) -> None:
    url, opener = system.worker.database_url, opener_of(system.worker)
    for projection in PROJECTIONS.values():
        with console.status(f"rebuilding {projection.name}"):
            position = await rebuild(url, projection, opener, lambda done, of: None)
            compared = await verify(url, projection, opener, lambda done, of: None)
        _hold(not compared.differences, f"the projection {projection.name} differs: {compared.differences}")
        _done(f"projection {projection.name} rebuilt", f"to position {position:,}, and equal in {compared.rows:,} rows")


def _hold(true: bool, otherwise: str) -> None:
    if not true:
        raise StepFailedError(otherwise)


def _done(step: str, detail: str) -> None:
    console.print(f"[green]✓[/] {step}: [dim]{detail}[/]")


def _shortened(secret: str) -> str:
    return f"{secret[:14]}…{secret[-4:]}"

"""Clients of every kind, over HTTP and NATS, that do what partners and their managers do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import nats.errors
from nats.aio.client import Client

from integration.partner import connected

from .history import Result
from .recorder import OUTAGE, PERMITTED, REACHABLE, Held, Recorder, Role, opened

TOPICS = (PERMITTED, "app/invoice/sent")
NARROWED = {"permitted": ["send", "receive"], "options": {"send": {"topics": [TOPICS[0]]}}}


class Clients(Recorder):
    """Partners come, live and go; whoever has their keys uses them all the time, also those that have ended."""

    def roles(self) -> list[Role]:
        managing = [self._manage] * 3
        using = [self._verify] * 2 + [self._publish_over_http] + [self._publish_natively] * 2
        return [*managing, *using, self._connect, self._receive, self._watch]

    async def _manage(self) -> None:
        """A partner from its invitation until its keys are revoked, or until nobody knows how it stands."""
        invited = await self.command("invite", "POST", "/external/partner", {}, self.system.inviter)
        if invited is None:
            return
        token = {"token": invited["url"].partition("#")[2]}
        redeemed = await self.command("redeem", "POST", "/onboarding/redeem", token, {})
        if redeemed is None:
            return
        keys = {each["environment"]: Held(each["id"], each["secret"]) for each in redeemed["keys"]}
        if self.dice.random() < 0.3:
            wanted = {"kind": "account", "name": f"key {next(self.names)}", "role": "viewer"}
            await self.command("issue", "POST", "/keys", wanted, self.system.owner)
        if self.dice.random() < 0.5:
            overlap = {"overlapSeconds": 60, "overlapStarts": self.dice.choice(["now", "first-use"])}
            await self._change(keys["dev"], "rotate", overlap)
        await self._live(keys["prod"])

    async def _live(self, key: Held) -> None:
        self.keys.append(key)
        self.all_keys.append(key)
        await asyncio.sleep(self.dice.uniform(0.1, 0.5))
        if self.dice.random() < 0.4 and not await self._suspended_for_a_while(key):
            return
        if self.dice.random() < 0.4:
            path, topic = f"/keys/{key.id}", TOPICS[1]
            patch = await self.command("narrow", "PATCH", path, NARROWED, self.system.owner, key=key.id, topic=topic)
            if patch is None:
                return
            await asyncio.sleep(self.dice.uniform(0.1, 2))
        await self._change(key, "revoke", {"reason": "a test"})

    async def _suspended_for_a_while(self, key: Held) -> bool:
        if await self._change(key, "suspend", {"reason": "a test"}) is None:
            return False
        await asyncio.sleep(self.dice.uniform(0.1, 2.5))
        return await self._change(key, "reinstate", {}) is not None

    async def _change(self, key: Held, what: str, body: Any) -> Any:
        return await self.command(what, "POST", f"/keys/{key.id}/{what}", body, self.system.owner, key=key.id)

    async def _verify(self) -> None:
        if not self.keys:
            return
        key, began, api = self.dice.choice(self.keys), time.monotonic(), self.dice.choice(self.apis)
        body = {"key": key.secret, "action": "send", "topic": self.dice.choice(TOPICS)}
        try:
            answer = (await api.post("/api/v1/keys/verify", json=body, headers=self.system.owner)).json()
        except httpx.HTTPError as error:
            self.noted("verify", began, "unknown", key=key.id, code=type(error).__name__)
            return
        code = answer["data"]["code"] if "data" in answer else answer["code"]
        result: Result = "ok" if code == "valid" else "unknown" if code == "unavailable" else "refused"
        self.noted("verify", began, result, key=key.id, code=code, topic=body["topic"])

    async def _publish_over_http(self) -> None:
        if not self.keys:
            return
        key, api = self.dice.choice(self.keys), self.dice.choice(self.apis)

        async def send(topic: str, event: str) -> tuple[int, str]:
            by = {"Authorization": f"Bearer {key.secret}", "Idempotency-Key": event}
            answer = await api.post("/api/v1/events", params={"topic": topic}, json=event, headers=by)
            said = answer.json()
            return (said["data"]["sequence"], "") if answer.status_code == 201 else (0, said["code"])

        await self._publish(key, send)

    async def _publish_natively(self) -> None:
        """Some events on one connection."""
        async with self._native() as (key, client):
            if client is None:
                return

            async def send(topic: str, event: str) -> tuple[int, str]:
                subject, data = "events." + topic.replace("/", "."), json.dumps(event).encode()
                answer = await client.request(subject, data, timeout=REACHABLE, headers={"Nats-Msg-Id": event})
                said = json.loads(answer.data)
                return said.get("seq", 0), said.get("code", "")

            for _ in range(self.dice.randint(1, 40)):
                if client.is_connected and not self.stopping:
                    await self._publish(key, send)
                    await asyncio.sleep(self.dice.uniform(0, 0.1))

    async def _publish(self, key: Held, send: Callable[[str, str], Awaitable[tuple[int, str]]]) -> None:
        """Again, under the same id, until it is known what came of it, or the client has had enough."""
        topic, event = self.dice.choice(TOPICS), f"event-{self.name}-{next(self.names)}"
        for _ in range(self.dice.choice([1, 5])):
            began, named = time.monotonic(), {"key": key.id, "topic": topic, "event": event}
            try:
                sequence, code = await send(topic, event)
            except (*OUTAGE, httpx.HTTPError) as error:
                self.noted("publish", began, "unknown", code=type(error).__name__, **named)
            else:
                result: Result = "ok" if sequence else "unknown" if code == "unavailable" else "refused"
                self.noted("publish", began, result, code=code, sequence=sequence, **named)
                if result != "unknown":
                    return
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def _native(self) -> AsyncIterator[tuple[Held, Client | None]]:
        """A connection with some key, None where there is none to be had."""
        key, began, client = self.dice.choice(self.keys or [Held("", "")]), time.monotonic(), None
        if key.id:
            try:
                client = await connected(self.system.nats.url, key.secret)
                await client.flush(REACHABLE)  # nats-py takes a server that hangs up for one that lets it in
            except nats.errors.AuthorizationError as error:
                self.noted("connect", began, "refused", key=key.id, code=type(error).__name__)
            except OUTAGE as error:
                refused = "Authorization Violation" in str(error)
                self.noted("connect", began, "refused" if refused else "unknown", key=key.id, code=type(error).__name__)
            else:
                self.noted("connect", began, "ok", key=key.id)
        try:
            yield key, client
        finally:
            if client is not None:
                with suppress(*OUTAGE):
                    await client.close()

    async def _connect(self) -> None:
        async with self._native():
            await asyncio.sleep(self.dice.uniform(0, 0.2))

    async def _receive(self) -> None:
        """What comes to a key's own consumer on one connection, for a while."""
        async with self._native() as (key, client):
            if client is None:
                return
            stream = f"EV_{self.system.founded.workspace_id}_prod"
            until = time.monotonic() + self.dice.uniform(0.5, 3)
            while client.is_connected and time.monotonic() < until and not self.stopping:
                with suppress(*OUTAGE):
                    js = client.jetstream(domain="keyfold", timeout=REACHABLE)
                    pull = await js.pull_subscribe_bind(consumer="k_" + key.id.removeprefix("key_"), stream=stream)
                    began = time.monotonic()
                    for message in await pull.fetch(20, timeout=0.3):
                        self.noted("receive", began, "ok", key=key.id, event=json.loads(message.data)["data"])
                        await message.ack()

    async def _watch(self) -> None:
        """Keeps every checkpoint that is shown anywhere."""
        with suppress(httpx.HTTPError):
            answer = await self.dice.choice(self.apis).get("/log/checkpoint")
            if answer.status_code == 200:
                self.checkpoints.append(opened(answer.content))
        await asyncio.sleep(0.2)

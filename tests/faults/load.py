"""Callers that do what the guide says: repeat with the same Idempotency-Key until they are answered."""

import asyncio
import random
import secrets
from collections import Counter
from typing import Any

import httpx
import msgspec

from integration.support import rows, wait_until

from .system import System


class Load:
    """So many callers at once, each inviting, redeeming and revoking, until it is told to stop."""

    def __init__(self, system: System, *, callers: int = 6, patient: bool = True) -> None:
        self.system = system
        self.answered = 0
        self.refused: Counter[int] = Counter()
        self.invited: dict[str, int] = {}
        self.redeemed: dict[str, tuple[int, list[str]]] = {}
        self.revoked: dict[str, int] = {}
        self.secrets: list[str] = []
        self._patient = patient
        self._stopping = False
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(callers)]

    async def more(self, answers: int, seconds: float = 20) -> None:
        """Waits until so many more commands have been answered."""
        wanted = self.answered + answers

        def reached() -> bool:
            for task in self._tasks:
                if task.done():
                    task.result()
            return self.answered >= wanted

        await wait_until(reached, seconds, every=0.005)

    async def stop(self) -> None:
        """Everybody ends what they have begun."""
        self._stopping = True
        async with asyncio.timeout(60):
            await asyncio.gather(*self._tasks)

    async def _call(self, number: int) -> None:
        dice = random.Random(number)
        async with self.system.client() as client:
            while not self._stopping:
                invited, position = await self._ask(client, "/api/v1/external/partner", {}, 201, self.system.inviter)
                self.invited[invited["id"]] = position
                token = invited["url"].partition("#")[2]
                redeemed, position = await self._ask(client, "/api/v1/onboarding/redeem", {"token": token}, 201, {})
                self.redeemed[invited["id"]] = position, [key["id"] for key in redeemed["keys"]]
                self.secrets += [token, *[key["secret"] for key in redeemed["keys"]]]
                key_id = dice.choice(redeemed["keys"])["id"]
                path = f"/api/v1/keys/{key_id}/revoke"
                revoked, position = await self._ask(client, path, {"reason": "a test"}, 200, self.system.owner)
                assert revoked["status"] == "revoked"
                self.revoked[key_id] = position

    async def _ask(
        self, client: httpx.AsyncClient, path: str, body: dict[str, str], expected: int, headers: dict[str, str]
    ) -> tuple[Any, int]:
        """The answer, whatever it takes: the outcome of a request without one is unknown, so it is made again."""
        key = secrets.token_hex(16)
        self.secrets.append(key)
        while True:
            try:
                answer = await client.post(path, json=body, headers={**headers, "Idempotency-Key": key})
            except httpx.HTTPError:
                self.refused[0] += 1
                assert self._patient, "no answer"
                await asyncio.sleep(0.02)
                continue
            if answer.status_code == expected:
                self.answered += 1
                return answer.json()["data"], int(answer.headers["Keyfold-Position"])
            assert answer.status_code == 503, answer.text
            assert self._patient
            self.refused[503] += 1
            await asyncio.sleep(0.02)

    async def assert_done_once(self) -> None:
        """Whatever was answered is in the log, at the position that was named, and nothing twice or unasked."""
        log: dict[int, tuple[str, str, Any]] = {}
        for position, stream, text in await rows(
            self.system.database.api_url, "SELECT position, stream, record FROM keyfold.log"
        ):
            record = msgspec.json.decode(text)
            log[position] = stream, record["type"], record["data"]
        times = Counter((stream, kind) for stream, kind, _ in log.values())
        assert set(times.values()) == {1}
        invited = {position: stream for position, (stream, kind, _) in log.items() if kind == "partner.invited.v1"}
        assert set(invited.values()) == set(self.invited)
        for partner, position in self.invited.items():
            assert invited[position - 1] == partner
            stream, kind, data = log[position]
            assert (kind, data["partnerId"]) == ("link.issued.v1", partner), stream
        issued = [d["keyId"] for _, kind, d in log.values() if kind == "key.issued.v1" and d.get("partnerId")]
        assert sorted(issued) == sorted(key for _, keys in self.redeemed.values() for key in keys)
        assert sum(kind == "link.redeemed.v1" for _, kind, _ in log.values()) == len(self.redeemed)
        for partner, (position, _) in self.redeemed.items():
            assert log[position][2]["partnerId"] == partner
        revoked = {stream for stream, kind, _ in log.values() if kind == "key.revoked.v1"}
        assert revoked == set(self.revoked)
        for key_id, position in self.revoked.items():
            assert position >= next(
                p for p, (stream, kind, _) in log.items() if (stream, kind) == (key_id, "key.revoked.v1")
            )

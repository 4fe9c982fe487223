"""Rotation under load: clients verify all the time, with the old key and then with the new one, and lose nothing."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any

import httpx
import pytest

from integration.support import wait_until

from .system import System, another_api, onboard
from .watch import Watch, clients, verifying, watching

OVERLAP = 1
"""Seconds: long enough for everybody to have heard of it."""


class Line:
    """A key and its successors, verified at every process without a pause."""

    def __init__(self, system: System, everywhere: list[httpx.AsyncClient], key: dict[str, Any]) -> None:
        self.key = key
        self._system = system
        self._everywhere = everywhere

    async def rotate(self, starts: str) -> None:
        """One rotation from beginning to end. Of two clients, one takes the new key at once, one as late as it can."""
        old, secret = self.key, self.key["secret"]
        async with AsyncExitStack() as stack:
            late = await stack.enter_async_context(watching(*self._asking(secret)))
            self.key = await self._successor(old, starts)
            if starts == "first-use":
                await self._assert_nothing_begins(old, late)
            fresh = await stack.enter_async_context(watching(*self._asking(self.key["secret"])))
            retires = await self._retirement(old)
            await asyncio.sleep(retires - time.time())
            for watch in late:
                await watch.says("retired")
            for watch in fresh:
                await watch.says("valid")
        self._assert_no_loss(late, fresh, retires)

    def _asking(self, secret: str) -> list[Any]:
        return [verifying(each, secret, self._system.owner) for each in self._everywhere]

    async def _successor(self, old: dict[str, Any], starts: str) -> dict[str, Any]:
        body = {"overlapSeconds": OVERLAP, "overlapStarts": starts}
        path = f"/api/v1/keys/{old['id']}/rotate"
        answer = await self._everywhere[0].post(path, json=body, headers=self._system.owner)
        assert answer.status_code == 201, answer.text
        successor: dict[str, Any] = answer.json()["data"]
        return successor

    async def _assert_nothing_begins(self, old: dict[str, Any], late: list[Watch]) -> None:
        """For longer than the overlap, since nobody has used the successor."""
        await asyncio.sleep(OVERLAP + 0.2)
        assert (await self._read(old))["retiresAt"] is None
        for watch in late:
            await watch.says("valid")

    async def _retirement(self, old: dict[str, Any]) -> float:
        """The moment, once it is known: as soon as the successor has been used."""

        async def known() -> bool:
            return (await self._read(old))["retiresAt"] is not None

        await wait_until(known)
        return datetime.fromisoformat((await self._read(old))["retiresAt"]).timestamp()

    async def _read(self, key: dict[str, Any]) -> dict[str, Any]:
        answer = await self._everywhere[-1].get(f"/api/v1/keys/{key['id']}", headers=self._system.owner)
        view: dict[str, Any] = answer.json()["data"]
        return view

    @staticmethod
    def _assert_no_loss(late: list[Watch], fresh: list[Watch], retires: float) -> None:
        for watch in late:
            assert {look.code for look in watch.looks if look.answered < retires} == {"valid"}
            assert {look.code for look in watch.looks if look.sent > retires} == {"retired"}
        for watch in fresh:
            assert {look.code for look in watch.looks} == {"valid"}


@pytest.mark.long
async def test_a_rotation_loses_no_request_and_its_old_key_ends_to_the_instant(system: System, rounds: int) -> None:
    """Both kinds of overlap at the same time, rotation after rotation, at two processes."""
    async with another_api(system) as other, clients(system.api, other) as everywhere:
        first, second, _ = (await onboard(system, everywhere[0]))["keys"]

        async def rotated(key: dict[str, Any], starts: str, times: int) -> None:
            line = Line(system, everywhere, key)
            for _ in range(times):
                await line.rotate(starts)

        async with asyncio.TaskGroup() as group:
            group.create_task(rotated(first, "now", max(1, rounds // 2)))
            group.create_task(rotated(second, "first-use", max(1, rounds // 4)))

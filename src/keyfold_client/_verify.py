"""Verification with a memory that is never older than was asked for."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from keyfold_client._http import Http
from keyfold_client.models import Verification

CAPACITY = 10_000


class _Known(NamedTuple):
    """`asked` is when the question went out: the answer was true at some moment after it."""

    verification: Verification
    asked: float


class Verifier:
    """Remembers answers by a digest of the question: no key stays in memory."""

    def __init__(self, http: Http, clock: Callable[[], float] = time.monotonic) -> None:
        self._http = http
        self._clock = clock
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def verify(
        self, key: str, *, action: str | None, topic: str | None, address: str | None, max_age: float
    ) -> Verification:
        """Raises `KeyfoldError`: without an answer nothing is valid."""
        given = {"key": key, "action": action, "topic": topic, "address": address}
        question = {name: value for name, value in given.items() if value is not None}
        name = hashlib.sha256(msgspec.json.encode(question)).digest()
        asked = self._clock()
        known = self._known.get(name)
        if known is not None and asked - known.asked < _lifetime(known.verification, max_age):
            return msgspec.structs.replace(known.verification, age=asked - known.asked)
        verification = await self._http.call("POST", "/api/v1/keys/verify", Verification, body=question)
        self._known[name] = _Known(verification, asked)
        self._known.move_to_end(name)
        if len(self._known) > CAPACITY:
            self._known.popitem(last=False)
        return msgspec.structs.replace(verification, age=self._clock() - asked)


def _lifetime(verification: Verification, max_age: float) -> float:
    """An answer ends with the key, too, and a refusal for haste with the wait that it asks for."""
    ends = (verification.remaining_seconds, verification.retry_after_seconds)
    return min(max_age, *(each for each in ends if each is not None), max_age)

"""What brings checkpoints to a witness. It waits for nobody, and nobody waits for it."""

import asyncio

import httpx

from keyfold.audit.witness import PATIENCE, OtherSizeError, Witness, WitnessError
from keyfold.metrics import WITNESS_SIZE
from keyfold.store.tree import Signed, TreeStore
from keyfold.worker.loop import Degraded
from keyfold_client.audit.merkle import ProofError, consistency_proof

PAUSES = (1.0, 60.0)
"""Seconds until it is asked again after a failure: at first, and at the most."""


class Asker:
    """Asks one witness to cosign the newest checkpoint, whenever there is one that it hasn't."""

    def __init__(self, store: TreeStore, witness: Witness) -> None:
        self._store = store
        self._witness = witness
        self._vkey = witness.verifier.vkey
        self._size: int | None = None
        self._pause, self._again = PAUSES[0], 0.0
        self._trouble = ""

    async def step(self) -> bool:
        """Raises `Degraded` while the witness doesn't cosign."""
        newest = await self._store.newest()
        if self._size is None:
            self._size = await self._store.cosigned(self._vkey)
        if newest is None or (newest.size <= self._size and not self._trouble):
            return False
        now = asyncio.get_running_loop().time()
        if now < self._again:
            raise Degraded(self._trouble)
        try:
            line = await self._ask(newest, self._size)
        except (WitnessError, OtherSizeError, ProofError, httpx.HTTPError) as error:
            self._again, self._pause = now + self._pause, min(PAUSES[1], self._pause * 2)
            self._trouble = f"{self._witness.name} hasn't cosigned {newest.size}: {_said(error)}"
            raise Degraded(self._trouble) from error
        await self._store.cosign(newest.size, self._vkey, line)
        self._size, self._pause, self._trouble = newest.size, PAUSES[0], ""
        WITNESS_SIZE.labels(self._witness.name).set(newest.size)
        return False

    async def _ask(self, newest: Signed, known: int) -> str:
        async with httpx.AsyncClient(timeout=PATIENCE) as client, asyncio.timeout(2 * PATIENCE):
            try:
                return await self._ask_from(client, newest, known)
            except OtherSizeError as other:
                if other.size > newest.size:
                    raise WitnessError(
                        f"it has seen the log at {other.size}, beyond {newest.size}. Was an older backup restored?"
                    ) from other
                return await self._ask_from(client, newest, other.size)

    async def _ask_from(self, client: httpx.AsyncClient, newest: Signed, old: int) -> str:
        proof = await self._store.prove(
            newest.size, newest.root, lambda nodes: consistency_proof(min(old, newest.size), newest.size, nodes)
        )
        return await self._witness.cosign(client, old, proof, newest.note)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__

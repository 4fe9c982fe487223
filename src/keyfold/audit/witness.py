"""Asks a witness to cosign a checkpoint: the client of c2sp.org/tlog-witness, add-checkpoint."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

import httpx

from keyfold_client.audit.notes import COSIGNATURE, NoteError, Verifier, open_note, parse_note

PATIENCE = 10.0
"""Seconds that a witness has for an answer."""
LARGEST = 65_536
"""Bytes that an answer has at the most."""
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n")
_REFUSALS = {
    400: "it doesn't understand the request",
    403: "it trusts no key that signed the checkpoint",
    404: "it doesn't know this log",
    422: "it says that the checkpoint isn't consistent with what it has seen",
}


class WitnessError(Exception):
    """It hasn't cosigned; the message says why."""


class OtherSizeError(Exception):
    """It has seen the log at another size than the one that was named."""

    def __init__(self, size: int) -> None:
        super().__init__(f"it has seen the log at {size}")
        self.size = size


class Witness(NamedTuple):
    """`url` is its submission prefix."""

    verifier: Verifier
    url: str

    @property
    def name(self) -> str:
        return self.verifier.name

    @classmethod
    def parse(cls, text: str) -> "Witness":
        """From `<vkey> <url>`. Raises `ValueError`."""
        vkey, _, url = text.strip().partition(" ")
        verifier = Verifier.parse(vkey)
        if verifier.kind != COSIGNATURE or not re.fullmatch(r"https?://[^\s/]+(/[^\s?#]*)?", url):
            raise ValueError("a witness is <vkey of a cosigner> <url>")
        return cls(verifier, url.rstrip("/"))

    async def cosign(self, client: httpx.AsyncClient, old_size: int, proof: Sequence[bytes], note: str) -> str:
        """The line of its signature under a checkpoint, verified, given the proof that it goes on from `old_size`.

        Raises `OtherSizeError` when it has seen another size, `WitnessError`, `httpx.HTTPError`.
        """
        lines = "".join(f"{b64encode(each).decode()}\n" for each in proof)
        body = f"old {old_size}\n{lines}\n{note}".encode()
        status, kind, answer = await self._post(client, body)
        if status == 409 and kind == "text/x.tlog.size":
            size = _SIZE.fullmatch(answer)
            if size is None:
                raise WitnessError("it answers 409 with something that is no size")
            raise OtherSizeError(int(size[1]))
        if status != 200:
            raise WitnessError(f"it answers {status}: {_REFUSALS.get(status, 'which means nothing here')}")
        return self._cosignature(note, answer)

    async def _post(self, client: httpx.AsyncClient, body: bytes) -> tuple[int, str, bytes]:
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        answer = b""
        async with client.stream("POST", f"{self.url}/add-checkpoint", content=body, headers=headers) as response:
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > LARGEST:
                    raise WitnessError("its answer is too long")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return response.status_code, kind, answer

    def _cosignature(self, note: str, lines: bytes) -> str:
        text = parse_note(note.encode()).text
        try:
            opened = open_note(f"{text}\n".encode() + lines, [self.verifier])
        except NoteError as error:
            raise WitnessError(f"its answer is no cosignature: {error}") from error
        (signature,) = opened.signatures
        if not signature.timestamp:
            raise WitnessError("its cosignature has no time")
        return f"{signature.line}\n"

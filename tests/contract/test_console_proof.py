"""Who has signed the head, at the console: witnesses whose signatures are right, are wrong, or nobody knows."""

import os
import re
from datetime import UTC, datetime

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keyfold.store.queries import query
from keyfold.store.tree import Signed
from keyfold.web.console.proof import head_of
from keyfold_client.audit.notes import COSIGNATURE, Verifier, cosigned, parse_note, signature_line

from .conftest import System
from .keys import eventually
from .tenant import Tenant
from .test_console import entered, told

AT = 1_924_992_000


def witness(name: str) -> tuple[Ed25519PrivateKey, Verifier]:
    key = Ed25519PrivateKey.generate()
    return key, Verifier(name, COSIGNATURE, key.public_key().public_bytes_raw())


def line(key: Ed25519PrivateKey, of: Verifier, text: str, at: int = AT) -> str:
    return signature_line(of.name, of.key_id, at.to_bytes(8) + key.sign(cosigned(text, at)))


async def is_signed(workspace: Tenant) -> bool:
    return (await workspace.api.get("/log/checkpoint")).status_code == 200


async def test_each_signature_of_the_head_is_judged_by_the_key_that_it_names(workspace: Tenant, system: System) -> None:
    await entered(workspace)
    (key, good), (_, wrong) = witness("good.example/w1"), witness("wrong.example/w1")
    connection = await asyncpg.connect(system.settings.worker_database_url)
    try:
        await eventually(lambda: is_signed(workspace))
        for _ in range(40):  # the head moves on every few seconds
            note = (await workspace.api.get("/log/checkpoint")).text
            text = parse_note(note.encode()).text
            size = int(text.split("\n")[1])
            for by, said in ((good, line(key, good, text)), (wrong, line(key, wrong, text))):
                await connection.fetchval(query("cosign"), size, by.vkey, said)
            page = await workspace.api.get("/console/proof")
            if f'data-fact="size">{size:,}<' in page.text:
                break
    finally:
        await connection.close()
    rows = {name: row for row, name in re.findall(r"<tr>(<td><code>([^<]+)</code>.*?)</tr>", page.text, re.DOTALL)}
    assert ("checked by the server" in rows[good.name], "2031-01-01" in rows[good.name]) == (True, True)
    assert "the signature is wrong" in rows[wrong.name]
    assert [each in page.text for each in (good.vkey, wrong.vkey)] == [True, True]
    assert "No witness has signed it" not in told(page)
    assert re.search(r"<dt>Signed</dt><dd><time [^>]*>now</time>", page.text), "said as every other moment is"

    # of a witness that nobody here knows, and of one that lives in no calendar
    (strange, unknown), ours = witness("other.example/w1"), (await workspace.api.get("/log/keys")).text.split()
    for at, year in ((AT, 2031), (2**60, None)):
        signed = Signed(size, os.urandom(32), note, 1.0, [line(strange, unknown, text, at)])
        *_, last = head_of(signed, ours, [good.vkey], datetime.now(UTC)).signers
        assert (last.name, last.vkey, last.is_log, last.at and last.at.year) == (unknown.name, None, False, year)

"""One server process of a benchmark: `python -m tests.bench.serving api|worker|plain|fixed`.

The last two are what Keyfold's routes are compared with, under the same uvicorn, set up by the same code: `plain` is a
Litestar route that does one INSERT through an asyncpg pool, `fixed` is no more than ASGI and gives one answer to all.
"""

import asyncio
import cProfile
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
from litestar import Litestar, post
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from keyfold.cli import serve
from keyfold.settings import Settings, read_settings

from .client import Answer

_INSERT = "INSERT INTO plain.partners (id, record) VALUES ($1, $2)"


class Invitation(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    app_name: str | None = None
    app_description: str | None = None
    metadata: dict[str, Any] = {}


class Invited(msgspec.Struct, rename="camel"):
    id: str
    url: str
    expires_at: datetime


class Envelope(msgspec.Struct):
    data: Invited


async def plain(settings: Settings, size: int) -> None:
    """Serves the plain route. `size` is the bytes of the record that it inserts."""
    pool = await asyncpg.create_pool(settings.database_url, min_size=8, max_size=8)

    @post("/api/v1/external/partner")
    async def invite(data: Invitation) -> Envelope:
        of = f"prt_{secrets.token_hex(13)}"
        record = msgspec.json.encode(data).decode()
        padded = f'{{"id":"{of}","data":{record},"rest":"'
        await pool.execute(_INSERT, of, padded + "." * (size - len(padded) - 2) + '"}')
        url = f"{settings.public_url}/onboard#kfl_{secrets.token_hex(38)}"
        return Envelope(Invited(of, url, datetime.now(UTC) + timedelta(minutes=30)))

    try:
        app = Litestar([invite], openapi_config=None, logging_config=None)
        await serve._until_stopped(settings, app, _idle())
    finally:
        pool.terminate()


async def fixed(settings: Settings, answer: Answer) -> None:
    """Serves that answer, once it has read what it was asked."""
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    start = HTTPResponseStartEvent(type="http.response.start", status=answer.status, headers=headers)
    end = HTTPResponseBodyEvent(type="http.response.body", body=answer.body, more_body=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send(start)
        await send(end)

    await serve._until_stopped(settings, app, _idle())


async def _idle() -> None:
    await asyncio.Event().wait()


def main(what: str) -> None:
    match what:
        case "api":
            serve.api.main([], standalone_mode=False)
        case "worker":
            serve.worker.main([], standalone_mode=False)
        case "plain":
            serve._run(plain(read_settings(os.environ), int(os.environ["KEYFOLD_BENCH_BYTES"])))
        case "fixed":
            answer = msgspec.json.decode(os.environ["KEYFOLD_BENCH_ANSWER"], type=Answer)
            serve._run(fixed(read_settings(os.environ), answer))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    profile = os.environ.get("KEYFOLD_BENCH_PROFILE")
    if profile is None:
        main(sys.argv[1])
    else:
        profiler = cProfile.Profile()
        try:
            profiler.runcall(main, sys.argv[1])
        finally:
            profiler.dump_stats(profile)

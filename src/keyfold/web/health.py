"""`/health/live`, `/health/ready` and `/metrics`, the same for an API and a worker process."""

import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import asyncpg
import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from prometheus_client import generate_latest

from keyfold.app.clock import SteadyClock
from keyfold.app.ports import DataKey
from keyfold.app.sealing import SealBrokenError, Sealing
from keyfold.app.trouble import Trouble
from keyfold.bus.connection import Bus
from keyfold.domain.refusals import Unavailable
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold.web import problems
from keyfold.web.edge import Edge

MAX_LAG = 10_000
"""How many positions a projection may be behind before it counts as unready."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    ok: bool
    detail: str = ""


class Readiness(msgspec.Struct, frozen=True):
    """Ready when every check is ok."""

    ready: bool
    checks: dict[str, Check]


async def api_readiness(postgres: Postgres, bus: Bus, sealing: Sealing) -> Readiness:
    """Postgres, NATS, the peppers, every loop of whichever worker, and how far the projections are."""
    checks = {"nats": _keeps(bus.trouble) if bus.is_connected else Check(False, "not connected")}
    try:
        loops = await postgres.fetch(query("loops"))
        lags = await postgres.fetch(query("lags"))
        checks["postgres"] = _keeps(postgres.trouble)
        checks["peppers"] = _peppers(await postgres.fetchrow(query("a_data_key")), sealing)
    except Unavailable:
        return Readiness(False, {**checks, "postgres": Check(False, "can't be reached")})
    if not loops:
        checks["worker"] = Check(False, "no worker has been heard of for a while")
    for row in loops:
        checks[f"loop {row['loop']}"] = Check(row["healthy"], row["detail"])
    for row in lags:
        ok, behind = row["lag"] <= MAX_LAG, f"{row['lag']} behind" if row["lag"] else ""
        checks[f"projection {row['projection']}"] = Check(ok, behind)
    return Readiness(all(check.ok for check in checks.values()), checks)


def _keeps(trouble: Trouble) -> Check:
    """A server whose disk is full can still be asked."""
    return Check(False, f"can't be written to: {trouble.why}") if trouble.why else Check(True)


def _peppers(wrapped: asyncpg.Record | None, sealing: Sealing) -> Check:
    """Whether they open a data key of this database: with others no key is valid, and nothing that is sealed opens."""
    try:
        if wrapped is not None:
            sealing.demand_opens(DataKey(*wrapped))
    except SealBrokenError as error:
        return Check(False, str(error))
    return Check(True)


class Healthy(Protocol):
    """A loop, as far as its health goes."""

    name: str
    detail: str

    @property
    def is_healthy(self) -> bool: ...


async def worker_readiness(postgres: Postgres, bus: Bus, loops: Iterable[Healthy]) -> Readiness:
    """Postgres, NATS, and the loops of this process."""
    checks = {"nats": Check(True) if bus.is_connected else Check(False, "not connected")}
    try:
        await postgres.fetchval("SELECT 1")
        checks["postgres"] = Check(True)
    except Unavailable:
        checks["postgres"] = Check(False, "can't be reached")
    for loop in loops:
        checks[f"loop {loop.name}"] = Check(loop.is_healthy, loop.detail)
    return Readiness(all(check.ok for check in checks.values()), checks)


def health_routes(check: Callable[[], Awaitable[Readiness]]) -> list[HTTPRouteHandler]:
    """The three routes, around a process's own idea of readiness."""

    @get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @get("/health/ready", include_in_schema=False)
    async def ready() -> Response[Readiness]:
        readiness = await check()
        return Response(readiness, status_code=200 if readiness.ready else 503)

    @get("/metrics", include_in_schema=False, media_type=MediaType.TEXT)
    async def metrics() -> Response[Any]:
        return Response(generate_latest(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return [live, ready, metrics]


def health_app(check: Callable[[], Awaitable[Readiness]]) -> ASGIApp:
    """Health and metrics alone, for a worker process. Made here, and not beside the API: to import that takes longer
    than the worker's whole start."""
    app = Litestar(
        health_routes(check), exception_handlers={Exception: problems.respond}, openapi_config=None, logging_config=None
    )
    return Edge(app, clock=SteadyClock(), entropy=os.urandom)

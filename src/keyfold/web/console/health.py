"""How the system stands: Postgres, NATS, every loop of every worker, and how far each projection is."""

from litestar import get

from keyfold.web.auth import services
from keyfold.web.console.pages import Page, Req, page
from keyfold.web.health import MAX_LAG, Check, api_readiness


@get("/health", opt={"permission": "workspace:read"})
async def health(request: Req) -> Page:
    """The same as `/health/ready` says, for people. The page asks again by itself."""
    of = services(request)
    readiness = await api_readiness(of.postgres, of.bus, of.sealing)
    return page(
        request,
        "console/health.html",
        readiness=readiness,
        servers={name: check for name, check in readiness.checks.items() if name in ("postgres", "nats", "peppers")},
        worker=readiness.checks.get("worker"),
        loops=_named(readiness.checks, "loop "),
        projections=_named(readiness.checks, "projection "),
        hears=of.hearing.is_current,
        max_lag=MAX_LAG,
    )


def _named(checks: dict[str, Check], what: str) -> dict[str, Check]:
    return {name.removeprefix(what): check for name, check in checks.items() if name.startswith(what)}

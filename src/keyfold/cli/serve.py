"""`keyfold api` and `keyfold worker`: one process each, any number of them."""

import asyncio
import gc
import os
import signal
from collections.abc import Coroutine
from typing import Any

import click

from keyfold.settings import Settings, read_settings

GRACE = 5
"""Seconds that requests under way get when the process is asked to stop."""


@click.command()
def api() -> None:
    """Serve the HTTP API. Settings come from KEYFOLD_… variables."""
    settings = _begin()
    _run(_serve_api(settings))


@click.command()
def worker() -> None:
    """Run relay, projections and housekeeping. Serves /health and /metrics on KEYFOLD_PORT."""
    settings = _begin()
    _run(_serve_worker(settings))


def _begin() -> Settings:
    """Both begin with a thousand imports, in which nothing becomes garbage: until they are done, none is looked for."""
    gc.disable()
    from keyfold.logs import set_up_logging  # noqa: PLC0415

    settings = read_settings(os.environ)
    set_up_logging(settings)
    return settings


async def _serve_api(settings: Settings) -> None:
    from keyfold.web.app import create_app  # noqa: PLC0415  # heavy, and of no use to the other commands
    from keyfold.web.pages.content import warm  # noqa: PLC0415
    from keyfold.web.services import Services  # noqa: PLC0415

    services = Services(settings)
    await services.open()
    warming = asyncio.create_task(asyncio.to_thread(warm))
    try:
        await _until_stopped(settings, create_app(services), services.run())
    finally:
        await warming
        await services.close()


async def _serve_worker(settings: Settings) -> None:
    from keyfold.web.health import health_app, worker_readiness  # noqa: PLC0415
    from keyfold.worker.worker import Worker  # noqa: PLC0415

    this = Worker(settings)
    app = health_app(lambda: worker_readiness(this.postgres, this.bus, this.loops))
    await _until_stopped(settings, app, this.run())


async def _until_stopped(settings: Settings, app: Any, background: Coroutine[Any, Any, None]) -> None:
    """Serves until a signal asks to stop. When the background work dies, so does the process: a server that answers
    200 over dead work helps nobody."""
    import uvicorn  # noqa: PLC0415

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        date_header=False,
        # by default uvicorn believes whoever comes from this machine: addresses decide here what a key may do
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE,
    )
    server = uvicorn.Server(config)
    gc.freeze()  # what is there by now stays: no collection needs to look at it, now or later
    gc.enable()
    # uvicorn hands the signal on when it has stopped: by default that would end us before we have closed anything
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "should_exit", True))
    work = asyncio.create_task(background)
    work.add_done_callback(lambda _: setattr(server, "should_exit", True))
    try:
        await server.serve()
    finally:
        if not work.done():
            work.cancel()
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome


def _run(main: Coroutine[Any, Any, None]) -> None:
    try:
        with asyncio.Runner(loop_factory=_event_loop) as runner:
            runner.run(main)
    except KeyboardInterrupt:
        # uvicorn stopped in order and handed the signal on
        raise SystemExit(128 + signal.SIGINT) from None


def _event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415  # not there on Windows
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()

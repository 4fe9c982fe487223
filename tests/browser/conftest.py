"""What the browser tests share: a system, a browser, and a tab that must not complain."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from examples.system import System, hosted
from keyfold.cli.embedded import Postgres

from .chromium import Browser, Page, browsing


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def processes(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with hosted(postgres_server, tmp_path_factory.mktemp("system")) as this:
        yield this


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def system(processes: System) -> System:
    """A workspace of the file's own."""
    return await processes.anew()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def chromium(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with browsing(tmp_path_factory.mktemp("profile")) as this:
        yield this


@pytest_asyncio.fixture(loop_scope="package")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Without any tab, before the test and after it."""
    yield chromium
    await chromium.clear()


@pytest_asyncio.fixture(loop_scope="package")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A tab that must not complain."""
    this = await browser.page()
    yield this
    assert this.complaints == []

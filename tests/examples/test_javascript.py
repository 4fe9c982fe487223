"""The handbook's example for JavaScript, with the official NATS client on Node.

It needs `npm install --prefix ~/.cache/keyfold-examples @nats-io/transport-node@3 @nats-io/jetstream@3`.
"""

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from examples.system import System, hosted
from keyfold.cli.embedded import Postgres
from keyfold.web.pages.handbook import source

PACKAGES = Path.home() / ".cache/keyfold-examples/node_modules"

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (PACKAGES / "@nats-io/jetstream").is_dir(),
    reason="THE EXAMPLE FOR JAVASCRIPT IS NOT TESTED: Node is missing, or: "
    "npm install --prefix ~/.cache/keyfold-examples @nats-io/transport-node@3 @nats-io/jetstream@3",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    async with hosted(postgres_server, tmp_path_factory.mktemp("system")) as this:
        yield this


@pytest.mark.asyncio(loop_scope="module")
async def test_the_official_client_publishes_and_consumes(system: System, tmp_path: Path) -> None:
    (script,) = re.findall(r"^```javascript\n(.*?)^```$", source("client"), re.MULTILINE | re.DOTALL)
    (tmp_path / "example.mjs").write_text(script)
    (tmp_path / "node_modules").symlink_to(PACKAGES)
    variables = {"PATH": os.environ["PATH"], "NATS": system.nats_url, "KEY": await redeemed(system)}
    process = await asyncio.create_subprocess_exec(
        "node",
        "example.mjs",
        cwd=tmp_path,
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        output, errors = await process.communicate()
    assert output.decode().splitlines() == ["stored as 1", "app/order/created o_6"], errors.decode()


async def redeemed(system: System) -> str:
    """The key of a new partner for `prod`."""
    token = (await system.invite(appName="Node")).partition("#")[2]
    async with httpx.AsyncClient(base_url=system.url) as client:
        answer = await client.post("/api/v1/onboarding/redeem", json={"token": token})
    return next(str(key["secret"]) for key in answer.json()["data"]["keys"] if key["environment"] == "prod")

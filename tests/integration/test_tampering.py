"""The database changed by a superuser who takes the guards off, against auditors: each change is caught and its
position named, by a bundle and by a look at the live log."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from click.testing import CliRunner

from conftest import LOG_KEY, environment
from keyfold.app.keys import NewKey
from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold.cli.main import main
from keyfold.cli.whole_log import export_whole
from keyfold.settings import Settings
from keyfold.web.app import create_app
from keyfold.web.services import Services
from keyfold.worker.worker import Worker
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.exporting import export_workspace
from keyfold_client.audit.live import Server
from keyfold_client.audit.memory import Memory
from keyfold_client.audit.merkle import leaf_hash
from keyfold_client.audit.trust import AlteredError, Asked
from keyfold_client.audit.verdicts import VERIFIED, verify
from keyfold_client.audit.watching import verify_live

from .support import Life, connected, projected, rows, value, wait_until, working

TABLES = ("log", "tiles", "tree", "checkpoints")
SHIFT = "UPDATE keyfold.log SET position = position + 1000000 WHERE position >= {0}; UPDATE keyfold.log SET position = position - 999999 WHERE position > 1000000;"  # noqa: E501
UNSHIFT = "UPDATE keyfold.log SET position = position - 1 WHERE position > {0};"
ANOTHER_ID = 'replace(record::text, \'"id":"evt_0\', \'"id":"evt_1\')::json'


class Case(NamedTuple):
    """What is done to position {0} ({1} is the one behind it), and whether the whole log's export says so itself."""

    statement: str
    refused: bool = False
    live: bool = True


CASES = {
    "a byte": Case(f"UPDATE keyfold.log SET record = {ANOTHER_ID} WHERE position = {{0}}"),
    "a row gone": Case("DELETE FROM keyfold.log WHERE position = {0}"),
    "a row gone, and no gap": Case("DELETE FROM keyfold.log WHERE position = {0};" + UNSHIFT),
    "two rows swapped": Case(
        "UPDATE keyfold.log SET position = -position WHERE position IN ({0}, {1});"
        "UPDATE keyfold.log SET position = {0} + {1} + position WHERE position < 0"
    ),
    "two records swapped": Case(
        "UPDATE keyfold.log AS l SET record = o.record FROM keyfold.log AS o"
        " WHERE l.position IN ({0}, {1}) AND o.position = {0} + {1} - l.position",
        refused=True,
    ),
    "a row inserted": Case(
        SHIFT
        + "INSERT INTO keyfold.log SELECT {0}, stream, 99, replace(record::text, '\"version\":1', '\"version\":99')"
        "::json, workspace_id, 99 FROM keyfold.log WHERE position = {1}",
        refused=True,
    ),
    "a column: stream": Case(
        "UPDATE keyfold.log SET stream = 'key_other' WHERE position = {0}", refused=True, live=False
    ),
    "a column: version": Case("UPDATE keyfold.log SET version = 77 WHERE position = {0}", refused=True, live=False),
    "a column: workspace_id": Case(
        "UPDATE keyfold.log SET workspace_id = 'ws_o' WHERE position = {0}", refused=True, live=False
    ),
    "a column: number": Case("UPDATE keyfold.log SET number = 99 WHERE position = {0}", refused=True, live=False),
}


class Bridge(httpx.BaseTransport):
    """Requests of a thread, answered by the application on the test's own loop."""

    def __init__(self, client: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        sent = self._client.request(request.method, str(request.url), headers=[*request.headers.items()])
        answer = asyncio.run_coroutine_threadsafe(sent, self._loop).result(30)
        return httpx.Response(
            answer.status_code, headers={**answer.headers, "content-encoding": "identity"}, content=answer.content
        )


class Audited:
    """A log of two workspaces, signed at its last position, whose worker has been stopped since."""

    def __init__(self, settings: Settings, worker: Settings, life: Life, folder: Path) -> None:
        self.settings = settings
        self.worker_settings = worker
        self.url = settings.admin_database_url
        self.life = life
        self.folder = folder
        self.key = ""
        self.transport: httpx.BaseTransport
        self.auditors = 0

    def new_auditor(self) -> Path:
        self.auditors += 1
        return self.folder / f"auditor-{self.auditors}"

    async def change(self, *statements: str) -> None:
        async with connected(self.url) as superuser:
            for statement in statements:
                await superuser.execute(statement)

    async def restore(self) -> None:
        columns = "SELECT * FROM saved."
        await self.change(
            f"TRUNCATE {', '.join(f'keyfold.{table}' for table in TABLES)} CASCADE",
            *(f"INSERT INTO keyfold.{table} {columns}{table}" for table in TABLES),
        )

    async def plant(self, unsigned: int = 0) -> int:
        """Makes the tree and its checkpoint anew from whatever the log says, signed with the real key, but for some
        records at the end."""
        signer = Signer.parse(LOG_KEY.decode())
        log = await rows(self.url, "SELECT record FROM keyfold.log ORDER BY position")
        leaves = [leaf_hash(record.encode()) for (record,) in log]
        growth, signed = grow(0, {}, leaves), grow(0, {}, leaves[: len(leaves) - unsigned])
        note = signed_note(Checkpoint(signer.name, signed.size, signed.root).text, [signer])
        await self.change("TRUNCATE keyfold.tiles, keyfold.checkpoints CASCADE")
        async with connected(self.url) as superuser:
            await superuser.execute("UPDATE keyfold.tree SET size = $1, root = $2", growth.size, growth.root)
            tiles = [(tile.level, tile.index, data) for tile, data in growth.tiles.items()]
            await superuser.executemany("INSERT INTO keyfold.tiles VALUES ($1, $2, $3)", tiles)
            await superuser.execute(
                "INSERT INTO keyfold.checkpoints VALUES ($1, $2, $3)", signed.size, signed.root, note
            )
        return growth.size

    async def verifies(self) -> Any:
        """What `keyfold audit verify` says at the machine, to somebody who has seen nothing."""
        arguments = ["audit", "verify", "--json", "--state", str(self.new_auditor())]
        none = {"KEYFOLD_URL": None, "KEYFOLD_KEY": None, **environment(self.settings)}
        ran = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=none)
        facts = json.loads(ran.stdout)
        assert ran.exit_code == {True: 0, False: 1, None: 2}[facts["verified"]]
        return facts

    async def looks(self, state: Path, *, again: bool = False) -> int | None:
        """Verifies the live log, and gives the bad position."""

        def look() -> int | None:
            with Server("http://keyfold.test", self.key, transport=self.transport) as server:
                try:
                    verify_live(server, Asked(), lambda origin: Memory(state, origin), again=again, patience=0)
                except AlteredError as error:
                    return error.position or -1
            return None

        return await asyncio.to_thread(look)

    async def exports(self, state: Path, *, whole: bool, since: int = 0) -> int | None:
        """Exports and verifies, and gives the bad position."""
        out = self.folder / f"bundle-{self.auditors}-{len(list(self.folder.iterdir()))}"
        if whole:
            try:
                await export_whole(self.worker_settings, out, lambda *_: None)
            except AlteredError as error:
                return error.position
        else:
            await asyncio.to_thread(self._export, out, since)
        verdict = await asyncio.to_thread(verify, str(out), Asked(), state)
        return None if verdict.status == VERIFIED else verdict.facts["position"] or -1

    def _export(self, out: Path, since: int) -> None:
        with Server("http://keyfold.test", self.key, transport=self.transport) as server:
            export_workspace(server, out, (since,), progress=lambda *_: None)


@pytest.fixture
async def audited(
    settings: Settings, worker_settings: Settings, services: Services, life: Life, tmp_path: Path
) -> AsyncIterator[Audited]:
    this = Audited(settings, worker_settings, life, tmp_path)
    made = await services.keys.issue(life.manager, NewKey(kind="account", name="auditor", role="auditor"))
    this.key = made.view.secret
    other = await Life(services).begin()
    for each in (life, other, life, life, other, life):
        await each.invite()
    async with working(Worker(worker_settings)):
        head = await projected(this.url)
        await wait_until(lambda: _is_signed(this.url, head), 20)
    await this.change(
        *("ALTER TABLE keyfold.log DISABLE TRIGGER append_only", "ALTER TABLE keyfold.checkpoints DISABLE TRIGGER ALL"),
        *("ALTER TABLE keyfold.cosignatures DISABLE TRIGGER ALL", "CREATE SCHEMA saved"),
        "ALTER TABLE keyfold.log DROP CONSTRAINT log_position_check",
        *(f"CREATE TABLE saved.{table} AS SELECT * FROM keyfold.{table}" for table in TABLES),
    )
    transport = httpx.ASGITransport(create_app(services))  # type: ignore[arg-type]  # ASGI all the same
    async with httpx.AsyncClient(transport=transport, base_url="http://keyfold.test") as client:
        this.transport = Bridge(client, asyncio.get_running_loop())
        yield this


async def _is_signed(url: str, head: int) -> bool:
    return bool(await value(url, "SELECT max(size) FROM keyfold.checkpoints") == head)


async def test_each_change_is_caught_and_its_position_named(audited: Audited) -> None:
    """By whoever sees the log for the first time: the tree and its checkpoint are as they were."""
    assert await audited.exports(audited.new_auditor(), whole=True) is None
    assert await audited.exports(audited.new_auditor(), whole=False) is None
    assert await audited.looks(audited.new_auditor()) is None
    mine = await rows(
        audited.url,
        "SELECT position FROM saved.log WHERE workspace_id = $1 AND position > 3 ORDER BY 1 DESC",
        audited.life.manager.workspace_id,
    )
    positions = {position for (position,) in mine}
    place = max(each for each in positions if {each - 1, each + 1} <= positions)
    for name, case in CASES.items():
        await audited.restore()
        await audited.change(case.statement.format(place, place + 1))
        if case.refused:
            with pytest.raises(AlteredError) as raised:
                await export_whole(audited.worker_settings, audited.folder / "refused", lambda *_: None)
            assert raised.value.position == place, name
            assert not (audited.folder / "refused").exists()
        else:
            assert await audited.exports(audited.new_auditor(), whole=True) == place, name
        expected = place if case.live else None
        assert await audited.looks(audited.new_auditor()) == expected, name
    await audited.restore()
    head = max(positions)
    await audited.change(f"DELETE FROM keyfold.log WHERE position >= {head}")
    assert await audited.exports(audited.new_auditor(), whole=True) == head
    assert await audited.looks(audited.new_auditor()) == head


async def test_what_is_in_the_tree_and_not_signed_yet_is_compared_with_it_at_the_machine(audited: Audited) -> None:
    """No bundle has it. The tree halts where the last row is gone, and so signs nothing that would show it."""
    size = await audited.plant(unsigned=5)
    facts = await audited.verifies()
    assert (facts["verified"], facts["size"]) == (True, size - 5)
    for position, statement in (
        (size, f"DELETE FROM keyfold.log WHERE position = {size}"),
        (size - 2, f"DELETE FROM keyfold.log WHERE position >= {size - 2}"),
        (size - 3, CASES["a byte"].statement.format(size - 3, size - 2)),
        (size - 4, CASES["a column: stream"].statement.format(size - 4, size - 3)),
        (size - 6, CASES["a byte"].statement.format(size - 6, 0)),
    ):
        await audited.restore()
        await audited.plant(unsigned=5)
        await audited.change(statement)
        facts = await audited.verifies()
        assert (facts["verified"], facts["position"]) == (False, position), statement
    await audited.restore()
    await audited.plant()
    await audited.change(f"UPDATE keyfold.tree SET size = {size - 1}")
    assert (await audited.verifies())["position"] == size, "the tree was cut back"


async def test_numbers_that_jumped_are_named_in_the_whole_log_as_in_the_workspaces_own(audited: Audited) -> None:
    """A column that was changed for the time of a write, and changed back: all that came of it is signed."""
    mine = audited.life.manager.workspace_id
    last = await value(audited.url, "SELECT max(position) FROM keyfold.log WHERE workspace_id = $1", mine)
    jump = "UPDATE keyfold.log SET number = number {} 1000000 WHERE position = {}"
    await audited.change(jump.format("+", last))
    await audited.life.invite()
    await audited.change(jump.format("-", last))
    bad = await value(
        audited.url, "SELECT min(position) FROM keyfold.log WHERE workspace_id = $1 AND number > 9999", mine
    )
    await audited.plant()
    assert await audited.exports(audited.new_auditor(), whole=True) == bad
    facts = await audited.verifies()
    assert facts["position"] == bad
    assert mine in facts["why"]


async def test_what_was_signed_again_is_caught_by_whoever_has_seen_it_before(audited: Audited) -> None:
    """With the real key: no signature is wrong, and a newcomer finds nothing."""
    whole, part, live = (audited.new_auditor() for _ in range(3))
    assert await audited.exports(whole, whole=True) is None
    assert await audited.exports(part, whole=False) is None
    assert await audited.looks(live) is None
    size = await value(audited.url, "SELECT max(size) FROM keyfold.checkpoints")

    async def all_name(position: int) -> None:
        assert await audited.exports(whole, whole=True) == position
        assert await audited.looks(live) == position

    await audited.restore()
    await audited.change(CASES["a byte"].statement.format(3, 4))
    assert await audited.plant() == size  # a fork: two checkpoints of one size
    await all_name(3)
    assert await audited.exports(part, whole=False) == 3
    await audited.restore()
    await audited.change(CASES["a byte"].statement.format(5, 6))
    await audited.life.invite()
    assert await audited.plant() > size
    assert await audited.exports(whole, whole=True) == 5
    assert await audited.exports(audited.new_auditor(), whole=True) is None, "a newcomer can't know"
    await audited.restore()
    await audited.change(f"DELETE FROM keyfold.log WHERE position > {size - 2}")  # an older backup
    assert await audited.plant() == size - 2
    await all_name(size - 1)
    assert await audited.exports(part, whole=False) == size - 1
    await audited.restore()
    assert await audited.looks(live) is None, "nothing of it was remembered"

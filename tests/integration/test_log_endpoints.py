"""`/log/…`: what any tlog-tiles client reads, without a key."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.tree import TreeStore
from keyfold.web.app import create_app
from keyfold.web.services import Services
from keyfold_client.audit.checkpoints import Checkpoint, open_checkpoint
from keyfold_client.audit.merkle import Frontier, leaf_hash
from keyfold_client.audit.notes import Verifier
from keyfold_client.audit.tiles import tiles_for_size

from .support import value

SIZE = 70_000
SIGNER = Signer.generate("log.example/keyfold")
LEAVES = [leaf_hash(str(n).encode()) for n in range(SIZE + 300)]


async def signed(store: TreeStore, known: int, size: int, edge: Any, *, signs: bool = True) -> Any:
    """Grows the tree to a size, with a checkpoint of it or not."""
    growth = grow(known, edge, LEAVES[known:size])
    note = signed_note(Checkpoint(SIGNER.name, size, growth.root).text, [SIGNER]) if signs else None
    assert await store.grow(known, size, growth.root, growth.tiles, note)
    return growth.edge


@pytest.fixture
async def web(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(services))  # type: ignore[arg-type]  # ASGI all the same
    async with httpx.AsyncClient(transport=transport, base_url="http://keyfold.test") as client:
        yield client


@pytest.fixture
def store(worker_postgres: Postgres) -> TreeStore:
    return TreeStore(worker_postgres)


async def test_everybody_reads_a_checkpoint_and_all_its_tiles_and_nothing_beyond(
    web: httpx.AsyncClient, store: TreeStore, services: Services
) -> None:
    """The specification's own example of 70,000, in a tree that has grown further and isn't signed there."""
    assert (await web.get("/log/checkpoint")).status_code == 404
    assert (await web.get("/log/keys")).text == ""
    edge = await signed(store, 0, SIZE, {})
    await signed(store, SIZE, SIZE + 300, edge, signs=False)
    await store.add_key(SIGNER.verifier_key)

    answer = await web.get("/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert "max-age=1" in answer.headers["cache-control"]
    (vkey,) = (await web.get("/log/keys")).text.splitlines()
    checkpoint = open_checkpoint(answer.content, [Verifier.parse(vkey)]).checkpoint
    frontier = Frontier()
    frontier.extend(LEAVES[:SIZE])
    assert (checkpoint.size, checkpoint.root) == (SIZE, frontier.root())

    tiles = [*tiles_for_size(SIZE)]
    assert [sum(each.level == level for each in tiles) for level in range(3)] == [274, 2, 1]
    for tile in [*tiles[:2], *tiles[270:]]:
        answer = await web.get(f"/log/{tile.path}")
        assert answer.status_code == 200, tile.path
        assert len(answer.content) == 32 * tile.width
        assert answer.headers["content-type"] == "application/octet-stream"
        assert "immutable" in answer.headers["cache-control"]
        if tile.level == 0:
            assert answer.content == b"".join(LEAVES[tile.index * 256 :][: tile.width])
    assert (await web.get("/log/tile/2/000.p/1")).content == frontier.nodes[0]
    assert (await web.get("/log/tile/0/x000/000.p/5")).status_code == 404
    assert (await web.get("/log/tile/0/000.p/5")).content == b"".join(LEAVES[:5]), "partial where it is full by now"
    assert await value(services.settings.admin_database_url, "SELECT size FROM keyfold.tree") == SIZE + 300


NO_TILES = [
    *("0/273.p/113", "0/273", "0/274", "0/274.p/1", "1/001.p/18", "2/000.p/2", "2/000", "3/000.p/1", "63/000.p/1"),
    *("64/000", "00/000", "0/00", "0/0", "0/0000", "0/x000/000", "0/000.p/0", "0/000.p/05", "0/000.p/256"),
    *("0/000.p/", "0/000.p", "0/000/", "0//000", "-1/000", "0/x1/000", "0/1000", "0", "", "x/000", "0/000.p/5/5"),
    *("0/x999/x999/x999/x999/x999/x999/999", "7/x999/x999/x999/x999/x999/x999/999", "data/000", "0/%300%30"),
    "0/\u0660\u0660\u0660",
]


async def test_a_path_that_is_no_tiles_or_beyond_the_signed_tree_is_404(
    web: httpx.AsyncClient, store: TreeStore
) -> None:
    edge = await signed(store, 0, SIZE, {})
    await signed(store, SIZE, SIZE + 300, edge, signs=False)
    for path in NO_TILES:
        answer = await web.get(f"/log/tile/{path}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


async def test_tiles_are_revalidated_by_their_bytes_and_asked_about_by_head(
    web: httpx.AsyncClient, store: TreeStore
) -> None:
    await signed(store, 0, 300, {})
    for path in ("tile/0/000", "tile/0/001.p/44", "checkpoint", "keys"):
        whole = await web.get(f"/log/{path}")
        again = await web.get(f"/log/{path}", headers={"If-None-Match": whole.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await web.head(f"/log/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["etag"] == whole.headers["etag"]
    assert (await web.post("/log/checkpoint")).status_code == 405
    assert (
        hashlib.sha256((await web.get("/log/tile/0/000")).content).hexdigest()[:16]
        in (await web.head("/log/tile/0/000")).headers["etag"]
    )


async def test_records_are_not_for_everybody(web: httpx.AsyncClient) -> None:
    for path in ("entries/000", "entries/x001/234.p/7"):
        answer = await web.get(f"/log/tile/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "records-not-public")
        assert "/api/v1/audit/export" in answer.json()["detail"]


async def test_a_new_checkpoint_waits_a_moment_for_the_cosignatures_that_the_last_one_has(
    web: httpx.AsyncClient, store: TreeStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = await signed(store, 0, 10, {})
    await store.cosign(10, "w+1+a", "— w one\n")
    await signed(store, 10, 20, edge)
    assert (await web.get("/log/checkpoint")).text.endswith("— w one\n")
    assert (await web.get("/log/checkpoint")).text.splitlines()[1] == "10"
    await store.cosign(20, "w+1+a", "— w two\n")
    assert (await web.get("/log/checkpoint")).text.splitlines()[1] == "20"
    await signed(store, 20, 30, await _edge(store, 20))
    monkeypatch.setattr("keyfold.store.tree.SETTLING", 0.0)
    assert (await web.get("/log/checkpoint")).text.splitlines()[1] == "30"


async def _edge(store: TreeStore, size: int) -> Any:
    return grow(0, {}, LEAVES[:size]).edge

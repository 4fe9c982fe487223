"""The log's tree as it is stored: how far it is, its tiles, and what was signed of it."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from keyfold.store.postgres import Postgres
from keyfold.store.queries import query
from keyfold_client.audit.merkle import Nodes
from keyfold_client.audit.tiles import Tile, TileNodes, Wanted

SETTLING = 2.0
"""Seconds that a new checkpoint waits for the cosignatures that the one before it has."""
_LEVELS = 8
_INDEXES = 1 << 55


class Leaf(NamedTuple):
    """A row of the log: a leaf of the tree, and the columns that must agree with it."""

    position: int
    stream: str
    version: int
    record: str
    workspace_id: str
    number: int


class Signed(NamedTuple):
    """A checkpoint as it was signed. `age` is in seconds; `cosignatures` are lines of signatures."""

    size: int
    root: bytes
    note: str
    age: float
    cosignatures: list[str]

    @property
    def cosigned_note(self) -> str:
        return self.note + "".join(self.cosignatures)


class TreeStore:
    """All of it raises `Unavailable`. Only a worker's login may `grow`, `cosign` and `add_key`."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def tree(self) -> tuple[int, bytes]:
        """Its size, in leaves, and its root."""
        (row,) = await self._postgres.fetch(query("tree"))
        return row["size"], row["root"]

    async def leaves(self, position: int, limit: int) -> list[Leaf]:
        """The log from a position on."""
        return [Leaf(*row) for row in await self._postgres.fetch(query("leaves"), position, limit)]

    async def tiles(self, wanted: Collection[Tile]) -> dict[Tile, bytes]:
        """Those of the wanted tiles that there are, as wide as they are wanted, or narrower where they are so."""
        columns = zip(*[(tile.level, tile.index, tile.width) for tile in wanted], strict=True) if wanted else ([],) * 3
        widths = {(tile.level, tile.index): tile for tile in wanted}
        rows = await self._postgres.fetch(query("tiles"), *map(list, columns))
        return {widths[row["level"], row["index"]]: row["hashes"] for row in rows}

    async def grow(self, known: int, size: int, root: bytes, tiles: Mapping[Tile, bytes], note: str | None) -> bool:
        """One step, whole or not at all; false when the tree isn't at the known size, or has been signed as large."""
        levels, indexes = [tile.level for tile in tiles], [tile.index for tile in tiles]
        grown = query("grow_tree"), known, size, root, levels, indexes, [*tiles.values()], note
        return bool(await self._postgres.fetchval(*grown))

    async def newest(self) -> Signed | None:
        """The newest checkpoint."""
        rows = await self._postgres.fetch(query("newest_checkpoints"))
        return Signed(*rows[0]) if rows else None

    async def shown(self) -> Signed | None:
        """The checkpoint to show: the newest, or for a moment the one before, which more witnesses have cosigned."""
        found = [Signed(*row) for row in await self._postgres.fetch(query("newest_checkpoints"))]
        if len(found) == 2 and found[0].age < SETTLING and len(found[0].cosignatures) < len(found[1].cosignatures):
            return found[1]
        return found[0] if found else None

    async def signed_tile(self, tile: Tile) -> bytes | None:
        """A tile of the tree that the newest checkpoint signs, or None where that has no such tile."""
        if tile.level >= _LEVELS or tile.index >= _INDEXES:
            return None
        row = await self._postgres.fetchrow(query("signed_tile"), tile.level, tile.index, tile.width)
        if row is None or row["size"] is None or row["size"] >> 8 * tile.level < tile.index * 256 + tile.width:
            return None
        return bytes(row["hashes"])

    async def prove(self, size: int, root: bytes, make: Callable[[Nodes], list[bytes]]) -> list[bytes]:
        """What `make` makes of the nodes of the tree that had this size and root: `inclusion_proof` for instance.

        Raises `ProofError` for a tile that isn't what the root says.
        """
        wanted = Wanted(size)
        make(wanted)
        tiles = await self.tiles(wanted.tiles)
        return make(TileNodes(size, root, lambda tile: tiles.get(tile, b"")))

    async def cosigned(self, witness: str) -> int:
        """The largest size that a witness, by its verifier key, has cosigned; 0 when it has none."""
        return int(await self._postgres.fetchval(query("cosigned"), witness))

    async def cosign(self, size: int, witness: str, line: str) -> None:
        await self._postgres.fetchval(query("cosign"), size, witness, line)

    async def witness_keys(self) -> list[str]:
        """The verifier keys of the witnesses that have cosigned one of the checkpoints that are shown."""
        return [row["witness"] for row in await self._postgres.fetch(query("witness_keys"))]

    async def keys(self) -> list[str]:
        """The verifier keys that it was ever signed with, the newest first."""
        return [row["vkey"] for row in await self._postgres.fetch(query("log_keys"))]

    async def add_key(self, vkey: str) -> None:
        await self._postgres.fetchval(query("add_log_key"), vkey)

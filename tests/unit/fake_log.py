"""A log for tests, with whatever it serves over HTTP, that can be changed by its operator as no honest one would."""

import json
from collections import Counter
from pathlib import Path

import httpx

from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.exporting import export_workspace, finish, unfinished
from keyfold_client.audit.live import Server
from keyfold_client.audit.manifests import CHECKPOINT, LEAVES, RECORDS
from keyfold_client.audit.merkle import leaf_hash
from keyfold_client.audit.records import Line
from keyfold_client.audit.tiles import parse_path
from unit.cosigner import Cosigner

KEY = "kf_acc_01jd0000000000000000000000_secret"


class FakeLog:
    """`rows` is what its database gives, `leaves` what its tree was made of: an honest log has them alike."""

    def __init__(self, origin: str = "log.test/keyfold", seed: int = 0) -> None:
        self.signers = [Signer(origin, bytes([seed]) * 32)]
        self.rows: list[tuple[str, bytes]] = []
        self.leaves: list[bytes] = []
        self.tiles: dict[tuple[int, int], bytes] = {}
        self.numbers = Counter[str]()
        self.note = b""
        self.breaks_after: int | None = None
        self.asked: list[str] = []
        self.beyond = b""

    @property
    def vkey(self) -> str:
        return self.signers[0].verifier_key

    def append(
        self, workspace: str = "ws_a", count: int = 1, type_: str = "thing.done.v1", **data: object
    ) -> "FakeLog":
        for _ in range(count):
            self.numbers[workspace] += 1
            self.write(workspace, self.numbers[workspace], type_, **data)
        return self

    def write(self, workspace: str, number: int, type_: str = "thing.done.v1", **data: object) -> None:
        said = {"number": number, "id": f"evt_{len(self.rows) + 1}", "type": type_}
        text = json.dumps({**said, "data": {"workspaceId": workspace, **data}}, separators=(",", ":")).encode()
        self.rows.append((workspace, text))
        self.leaves.append(leaf_hash(text))

    def sign(self, *cosigners: Cosigner) -> "FakeLog":
        size = len(self.leaves)
        text = Checkpoint(self.signers[0].name, size, self.plant()).text
        self.note = signed_note(text, self.signers).encode() + "".join(each.line(text) for each in cosigners).encode()
        return self

    def plant(self) -> bytes:
        """Makes the tiles anew; gives their root."""
        growth = grow(0, {}, self.leaves)
        self.tiles = {(each.level, each.index): data for each, data in growth.tiles.items()}
        return growth.root

    def rewrite(self, position: int, text: bytes) -> "FakeLog":
        """The record and its tree, signed again with the real key."""
        self.rows[position - 1] = (self.rows[position - 1][0], text)
        self.leaves[position - 1] = leaf_hash(text)
        return self.sign()

    def server(self, workspace: str | None = "ws_a") -> Server:
        def answer(request: httpx.Request) -> httpx.Response:
            return self._answer(request, workspace)

        return Server("https://log.test", KEY if workspace else None, transport=httpx.MockTransport(answer))

    def _answer(self, request: httpx.Request, workspace: str | None) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        if path == "/log/checkpoint":
            return httpx.Response(200, content=self.note)
        if path == "/log/keys":
            return httpx.Response(200, text="".join(f"{each.verifier_key}\n" for each in self.signers))
        if path.startswith("/log/tile/"):
            tile = parse_path(path.removeprefix("/log/"))
            return httpx.Response(200, content=self.tiles[tile.level, tile.index][: tile.width * 32])
        assert path == "/api/v1/audit/export"
        after, until = int(request.url.params["after"]), min(int(request.url.params["until"]), len(self.rows))
        if after > len(self.rows):
            return httpx.Response(400, json={"detail": "too far", "errors": [{"pointer": "?after"}]})
        lines = [
            bytes(Line(position, text))
            for position, (owner, text) in enumerate(self.rows, 1)
            if owner == workspace and after < position <= until
        ]
        headers = {"Keyfold-Position": str(until)}
        return httpx.Response(200, headers=headers, content=self._sent([*lines, self.beyond]))

    def _sent(self, lines: list[bytes]) -> "httpx.ByteStream | Broken":
        if self.breaks_after is None:
            return httpx.ByteStream(b"".join(lines))
        content, self.breaks_after = b"".join(lines)[: self.breaks_after], None
        return Broken(content)

    def export(self, out: Path, workspace: str = "ws_a", since: tuple[int, ...] = ()) -> Path:
        with self.server(workspace) as server:
            export_workspace(server, out, since, progress=lambda done, of: None)
        return out

    def export_whole(self, out: Path) -> Path:
        part = unfinished(out)
        part.mkdir(parents=True)
        (part / CHECKPOINT).write_bytes(self.note)
        (part / RECORDS).write_bytes(b"".join(bytes(Line(at, text)) for at, (_, text) in enumerate(self.rows, 1)))
        (part / LEAVES).write_bytes(b"".join(self.leaves))
        finish(out, self.note, [self.vkey], None, len(self.rows), (CHECKPOINT, RECORDS, LEAVES))
        return out


class Broken(httpx.SyncByteStream):
    """A connection that goes away amid an answer."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __iter__(self):  # type: ignore[no-untyped-def]
        yield self._content
        raise httpx.ReadError("gone")

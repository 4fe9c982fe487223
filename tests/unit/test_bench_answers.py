"""The benchmarks' ways to ask, and what they make of the answers; and peers that aren't there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench import install as installing
from bench import revocation
from bench.client import Answer, Client, connected
from bench.install import PACKAGES, install
from bench.load import body_length, load, request
from bench.revocation import _revoke
from bench.stage import BenchError


class _Server(NamedTuple):
    port: int
    asked: list[str]


@asynccontextmanager
async def _server(*answers: tuple[int, str]) -> AsyncIterator[_Server]:
    """Gives these answers in turn on each connection, and the last one from then on; notes each path."""
    asked: list[str] = []
    handlers: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handlers.append(asyncio.current_task())
        given = 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(body_length(head))
                asked.append(head.split()[1].decode())
                status, body = answers[min(given, len(answers) - 1)]
                writer.write(f"HTTP/1.1 {status} X\r\nA: b:c\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
                given += 1
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield _Server(server.sockets[0].getsockname()[1], asked)
    await asyncio.gather(*filter(None, handlers))


async def _load(server: _Server, *paths: str, connections: int = 2) -> dict[str, Any]:
    texts = [request("POST", path, {}, "{}") for path in paths or ["/"]]
    question = {"port": server.port, "requests": texts, "connections": connections, "seconds": 0.02}
    return await load({**question, "status": 200, "expects": "valid"})


async def test_a_load_counts_the_answers_that_are_as_they_should_be() -> None:
    async with _server((200, "valid")) as server:
        answer = await _load(server)
    assert answer["count"] >= 2
    assert answer["seconds"] >= 0.02


async def test_a_load_with_another_status_among_its_answers_has_no_figure() -> None:
    async with _server((200, "valid"), (503, "valid"), (200, "valid")) as server:
        answer = await _load(server)
    assert answer.keys() == {"error"}
    assert "503: 2" in answer["error"]


async def test_a_load_whose_first_answer_says_something_else_has_no_figure() -> None:
    async with _server((200, "refused"), (200, "valid")) as server:
        assert await _load(server) == {"error": "an answer without valid: b'refused'"}


async def test_the_connections_of_a_load_have_its_requests_in_turn() -> None:
    async with _server((200, "refused")) as server:
        await _load(server, "/1", "/2", connections=3)
    assert sorted(server.asked) == ["/1", "/1", "/2"]


async def test_a_client_gives_status_headers_and_data_of_one_answer_after_another() -> None:
    async with (
        _server((200, '{"data": 1}'), (200, '{"data": 2}'), (409, "no")) as server,
        connected(server.port, "k") as client,
    ):
        answer = await client.post("/", {})
        assert answer == (200, [("A", "b:c"), ("Content-Length", "11")], b'{"data": 1}')
        assert await client.data("/", {}) == 2
        with pytest.raises(BenchError, match="POST / was answered 409: no"):
            await client.post("/", {})


class _Asker(Client):
    """Calls a key valid three times, and then says what it was told to."""

    def __init__(self, *said: bool) -> None:
        self.said = [True, True, True, *said]
        self.refused = asyncio.Event()

    async def data(self, path: str, body: object, *, status: int = 200) -> Any:
        await asyncio.sleep(0)  # the revocation goes on meanwhile
        valid = self.said.pop(0)
        if not valid:
            self.refused.set()
        return {"valid": valid}


class _Revoker(Client):
    """Answers at once, or after what it is to wait for."""

    def __init__(self, after: asyncio.Event | None = None) -> None:
        self._after = after

    async def post(self, path: str, body: object, *, status: int = 200) -> Answer:
        assert path == "/api/v1/keys/key_1/revoke"
        if self._after is not None:
            await self._after.wait()
        return Answer(200, [], b"")


async def test_a_revocation_lasts_until_the_first_refusal() -> None:
    delay, late = await _revoke(_Revoker(), _Asker(True, True, False), "key_1", "secret")
    assert 0 < delay < revocation.PROMISE
    assert late == 0


async def test_a_key_is_late_each_time_that_it_is_called_valid_after_the_promise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(revocation, "PROMISE", 0.0)
    # the first of them was asked before the revocation was answered
    _, late = await _revoke(_Revoker(), _Asker(True, True, True, False), "key_1", "secret")
    assert late == 2


async def test_a_refusal_before_the_revocation_is_answered_is_no_delay() -> None:
    asker = _Asker(True, False)
    assert await _revoke(_Revoker(asker.refused), asker, "key_1", "secret") == (0.0, 0)


async def test_a_key_that_is_never_refused_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revocation, "_GIVEN_UP", 0.0)
    asker = _Asker(*[True] * 9)
    delay, _ = await _revoke(_Revoker(), asker, "key_1", "secret")
    assert delay > 0
    assert asker.said


async def test_a_key_that_was_refused_before_has_no_figure() -> None:
    asker = _Asker()
    asker.said[1] = False
    with pytest.raises(BenchError, match="before it was revoked"):
        await _revoke(_Revoker(), asker, "key_1", "secret")


def test_a_peer_has_a_folder_for_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders = {package.folder.relative_to(tmp_path).as_posix() for package in PACKAGES.values()}
    assert {"keyfold-bench/better-auth-1.7.5", "keyfold-bench/drf-3.1.0"} < folders
    assert len(folders) == len(PACKAGES)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_peer_that_is_not_there_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BenchError, match=f"{name} is not installed: python -m tests.bench peers install"):
        PACKAGES[name].command()


def test_a_peer_on_node_says_that_there_is_no_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    package = PACKAGES["better-auth"]
    package.folder.mkdir(parents=True)
    (package.folder / "installed").touch()
    with pytest.raises(BenchError, match="node is not there"):
        package.command()


@pytest.fixture
def without_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Nothing is installed, but what would be run is noted."""
    run: list[str] = []

    async def output(command: list[str]) -> str:
        run.append(" ".join(command))
        return ""

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(installing, "output", output)
    return run


async def test_without_node_the_peers_on_python_are_installed_and_the_others_are_skipped_aloud(
    without_node: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    kept = PACKAGES["better-auth"].folder / "installed"
    kept.parent.mkdir(parents=True)
    kept.touch()
    await install()
    assert [name for name, package in PACKAGES.items() if (package.folder / "installed").exists()] == [
        "eventsourcing",
        "better-auth",  # as it was
        "drf",
    ]
    said = capsys.readouterr().err.splitlines()
    assert said == [f"SKIPPED {name}: npm is not there: install Node 20 or newer" for name in ("emmett", "better-auth")]
    assert all("--constraint" in command for command in without_node if "pip" in command)


async def test_a_peer_that_cannot_be_installed_is_named_when_all_have_been_tried(
    without_node: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(command: list[str]) -> str:
        without_node.append(" ".join(command))
        raise BenchError("pip failed: no network")

    monkeypatch.setattr(installing, "output", fail)
    with pytest.raises(BenchError, match=r"(?s)eventsourcing: pip failed.*drf: pip failed"):
        await install()
    assert len(without_node) == 2

"""`keyfold audit events`, `timeline`, `download` and `keyfold replay` against a running system."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from conftest import environment
from examples.system import PATIENCE, System, hosted
from keyfold.cli.embedded import Postgres
from keyfold.cli.main import main


class Terminal(NamedTuple):
    """Commands on this system, by an owner's key; and without one, at the machine."""

    system: System
    machine: dict[str, str]
    partner: str

    def variables(self) -> dict[str, str | None]:
        return {"KEYFOLD_URL": self.system.url, "KEYFOLD_KEY": self.system.account_key}

    def run(self, *arguments: str, status: int = 0) -> Result:
        result = CliRunner().invoke(main, arguments, env=self.variables())
        assert result.exit_code == status, result.output
        return result

    def at_the_machine(self, *arguments: str, status: int = 0) -> Result:
        none: dict[str, str | None] = {"KEYFOLD_URL": None, "KEYFOLD_KEY": None}
        result = CliRunner().invoke(main, arguments, env={**none, **self.machine})
        assert result.exit_code == status, result.output
        return result

    def json(self, *arguments: str) -> list[Any]:
        return [json.loads(line) for line in self.run("audit", *arguments, "--json").stdout.splitlines()]

    def started(self, *arguments: str) -> subprocess.Popen[str]:
        """As a process of its own, whose standard output is read."""
        variables = {name: value for name, value in self.variables().items() if value}
        command = [sys.executable, "-m", "keyfold", "audit", *arguments]
        return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Terminal]:
    async with hosted(postgres_server, tmp_path_factory.mktemp("trail")) as system:
        await system.invite(appName="[red]Orders[/]")
        machine = environment(msgspec.structs.replace(system.settings, public_url=system.url))
        key = {"KEYFOLD_URL": system.url, "KEYFOLD_KEY": system.account_key}
        asked, found = ["audit", "events", "--type", "partner.invited", "--json"], ""
        async with asyncio.timeout(PATIENCE):
            while not found:  # the trail follows the log
                await asyncio.sleep(0.05)
                found = CliRunner().invoke(main, asked, env=key).stdout
        yield Terminal(system, machine, json.loads(found)["stream"])


def test_events_are_listed_the_newest_last_and_by_filter(terminal: Terminal) -> None:
    events = terminal.json("events", "--all")
    assert [each["position"] for each in events] == sorted(each["position"] for each in events)
    assert terminal.json("events", "--limit", "2")[0]["position"] >= events[-2]["position"]
    invited, linked = terminal.json("events", "--partner", terminal.partner)
    assert (invited["type"], linked["type"]) == ("partner.invited.v1", "link.issued.v1")
    assert terminal.json("events", "--type", "link.", "--since", "-1h", "--address", "127.0.0.0/8") == [linked]
    assert terminal.json("events", "--until", str(invited["position"]), "--partner", terminal.partner) == [invited]
    said = terminal.run("audit", "events", "--partner", terminal.partner).stdout.splitlines()
    assert len(said) == 2
    assert f"partner.invited          {terminal.partner}  by key key_" in said[0]
    assert "no type" in terminal.run("audit", "events", "--type", "key.exploded", status=1).output


def test_a_timeline_tells_a_story_by_whatever_names_it(terminal: Terminal) -> None:
    invited, linked = terminal.json("timeline", terminal.partner)
    assert "↳ link.issued" in terminal.run("audit", "timeline", terminal.partner).stdout
    assert terminal.json("timeline", invited["correlationId"]) == [invited, linked]
    assert terminal.json("timeline", linked["id"]) == [invited, linked]
    assert terminal.json("timeline", linked["stream"]) == [linked]
    assert invited in terminal.json("timeline", "127.0.0.0/8")
    by_operator = next(each for each in terminal.json("events", "--all") if each["actor"]["kind"] == "operator")
    assert by_operator in terminal.json("timeline", f"operator:{by_operator['actor']['id']}")
    assert "Nothing is known" in terminal.run("audit", "timeline", "req_nothing", status=1).stderr


def test_a_download_is_gone_on_with_where_it_was_left(terminal: Terminal, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.ndjson", tmp_path / "cut.ndjson"
    for format_ in ("records", "ndjson", "ocsf", "ecs"):
        until = str(terminal.json("events", "--limit", "1")[0]["position"])
        given = ("--format", format_, "--until", until)
        terminal.run("audit", "download", str(whole), *given)
        lines = whole.read_bytes().splitlines(keepends=True)
        cut.write_bytes(b"".join(lines[:3]) + lines[3][:20])
        assert "goes on behind" in terminal.run("audit", "download", str(cut), *given).stderr
        assert cut.read_bytes() == whole.read_bytes()
        other = "ecs" if format_ == "ndjson" else "ndjson"
        said = terminal.run("audit", "download", str(whole), "--format", other, status=2).stderr
        assert f"lines of the format {format_}" in said
        assert cut.read_bytes() == whole.read_bytes()
        whole.unlink()
    ahead = ("--format", "ecs", "--after", "3")
    assert "leave --after out" in terminal.run("audit", "download", str(cut), *ahead, status=2).stderr
    for text in ("no export\n", "no line"):
        cut.write_text(text)
        assert "is no export" in terminal.run("audit", "download", str(cut), status=1).stderr
        assert cut.read_text() == text


def test_what_happens_is_followed_until_ctrl_c(terminal: Terminal) -> None:
    process = terminal.started("events", "--follow", "--json", "--type", "key.", "--limit", "1")
    try:
        assert process.stdout is not None
        before = json.loads(process.stdout.readline())
        terminal.run("keys", "issue", "--kind", "account", "--role", "viewer", "--name", "followed")
        after = json.loads(process.stdout.readline())
        assert after["position"] > before["position"]
        assert after["data"]["name"] == "followed"
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_a_replay_compares_and_writes_the_records_of_a_workspace(terminal: Terminal, tmp_path: Path) -> None:
    deadline = time.monotonic() + 20
    while (said := terminal.at_the_machine("replay").stdout).count("equal at position") < 3:
        assert time.monotonic() < deadline, said
    assert "audit: equal" in said
    file = tmp_path / "log.ndjson"
    said = terminal.at_the_machine("replay", "--to", str(file)).stdout
    lines = file.read_bytes().splitlines()
    assert f"{len(lines):,} events in" in said
    assert all(line.startswith(b'{"position":') and b'"record":{' in line for line in lines)
    terminal.at_the_machine("replay", "--after", "3", status=2)

"""`keyfold audit export`, `verify`, `prove` and `keygen` on a running system: what people type, and what they get."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from conftest import environment, free_port, make_settings, new_database, settings_of_worker
from examples.system import System, running
from keyfold.audit.signing import Signer
from keyfold.cli.embedded import Nats, Postgres
from keyfold.cli.main import main


class Terminal(NamedTuple):
    """Commands on this system, by an owner's key unless it is said that they are typed at the machine."""

    system: System
    machine: dict[str, str]
    folder: Path

    def run(self, *arguments: str, status: int = 0, at_the_machine: bool = False, **variables: str | None) -> Result:
        given: dict[str, str | None] = {"KEYFOLD_URL": self.system.url, "KEYFOLD_KEY": self.system.account_key}
        if at_the_machine:
            given = {"KEYFOLD_URL": None, "KEYFOLD_KEY": None, **self.machine}
        given |= {"XDG_STATE_HOME": str(self.folder / "state"), **variables}
        result = CliRunner().invoke(main, ["audit", *arguments], env=given)
        assert result.exit_code == status, result.output
        return result

    def json(self, *arguments: str, **more: Any) -> Any:
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def grows(self) -> str:
        """Something happens, and is signed. Gives the id of the last event."""
        headers = {"Authorization": f"Bearer {self.system.integration_key}"}
        body = {"appName": "Acme"}
        httpx.post(f"{self.system.url}/api/v1/external/partner", json=body, headers=headers).raise_for_status()
        event = json.loads(self.run("events", "--limit", "1", "--json").stdout)
        deadline = time.monotonic() + 20
        while int(httpx.get(f"{self.system.url}/log/checkpoint").text.split("\n")[1]) < event["position"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return str(event["id"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def module_system(
    postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[System, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("system")
    nats = Nats(folder / "nats", free_port(), durable=False)
    await nats.start()
    try:
        settings = make_settings(await new_database(postgres_server), nats)
        worker = msgspec.structs.replace(settings_of_worker(settings, nats), checkpoint_seconds=1)
        async with running(settings, worker, folder) as system:
            yield system, environment(msgspec.structs.replace(settings, public_url=system.url))
    finally:
        await nats.stop()


@pytest.fixture
def terminal(module_system: tuple[System, dict[str, str]], tmp_path: Path) -> Terminal:
    return Terminal(*module_system, tmp_path)


def test_a_workspace_is_exported_verified_and_gone_on_with(terminal: Terminal) -> None:
    terminal.grows()
    first, second = terminal.folder / "first", terminal.folder / "second"
    assert "Anybody can check it" in terminal.run("export", str(first)).output
    told = terminal.run("verify", str(first)).stdout
    assert told.startswith("VERIFIED")
    assert "FIRST USE" in told
    assert "there already" in terminal.run("export", str(first), status=1).output
    terminal.grows()
    assert terminal.json("export", str(second), "--readable")["records"] > 0
    facts = terminal.json("verify", str(second))
    assert (facts["firstUse"], facts["workspaceId"][:3]) == (False, "ws_")
    assert facts["since"] == json.loads((first / "manifest.json").read_text())["size"], "export proved what was seen"
    assert "Acme" in (second / "readable.ndjson").read_text()
    assert "Acme" not in (second / "records.ndjson").read_text()
    assert "no part of the proof" in facts["notes"][0]
    (second / "readable.ndjson").write_text("{}\n")
    assert "has been changed" in terminal.json("verify", str(second))["notes"][0]
    third = terminal.folder / "third"
    watched = terminal.folder / "elsewhere"
    terminal.run("export", str(third), "--since", str(first), "--state", str(watched))
    sizes = [json.loads(line)["size"] for line in (third / "consistency.ndjson").read_text().splitlines()]
    assert facts["since"] in sizes
    records = third / "records.ndjson"
    records.write_bytes(records.read_bytes().replace(b"operator", b"0perator", 1))
    said = terminal.run("verify", str(third), status=1).stdout
    assert said.startswith("ALTERED  position 1:")


def test_what_is_no_verdict_is_none(terminal: Terminal) -> None:
    """1 says that something was altered: a key that is none, or a system that isn't there, doesn't."""
    url = terminal.system.url
    for given, variables in (
        ((url,), {"KEYFOLD_KEY": "hunter2"}),
        ((url,), {"KEYFOLD_KEY": terminal.system.account_key[:-1] + "x"}),
        (("http://127.0.0.1:1",), {}),
        (("--data", str(terminal.folder / "nothing")), {"KEYFOLD_KEY": None}),
    ):
        facts = terminal.json("verify", *given, status=2, **variables)
        assert facts["verified"] is None, facts
        assert "hunter2" not in facts["why"]


def test_an_unknown_workspace_leaves_nothing_in_the_log_nor_on_the_disk(terminal: Terminal) -> None:
    def head() -> int:
        (event,) = terminal.run("events", "--limit", "1", "--json").stdout.splitlines()
        return int(json.loads(event)["position"])

    out, before = terminal.folder / "out", head()
    for workspace in ("ws_nope", "ws_01h455vb4pex5vsknk084sn02q"):
        told = terminal.run("export", str(out), "--workspace", workspace, status=1, at_the_machine=True)
        assert f"There is no workspace {workspace}" in told.stderr
    given = {"KEYFOLD_URL": None, "KEYFOLD_KEY": None, **terminal.machine}
    for arguments in (["replay", "--to", str(out)], ["keys", "list"], ["keys", "issue", "--kind", "account"]):
        ran = CliRunner().invoke(main, [*arguments, "--workspace", "ws_01h455vb4pex5vsknk084sn02q"], env=given)
        assert (ran.exit_code, "There is no workspace" in ran.stderr) == (1, True), ran.output
    assert head() == before
    assert [*terminal.folder.iterdir()] == []
    told = terminal.run("export", str(out), "--workspace", "ws_01h455vb4pex5vsknk084sn02q", status=2)
    assert "leave --workspace out" in told.stderr
    assert "may be two systems" in terminal.run("export", str(out), "--data", "x", status=2).stderr
    assert [*terminal.folder.iterdir()] == []


def test_what_cant_be_written_is_said_in_one_line(terminal: Terminal) -> None:
    nowhere, taken = terminal.folder / "none" / "a", terminal.folder / "taken.part"
    taken.write_text("mine")
    for arguments in (
        ("prove", "1", "--out", str(nowhere)),
        ("download", str(nowhere)),
        ("export", "/proc/x"),
        ("export", str(terminal.folder / "taken")),
    ):
        told = terminal.run(*arguments, status=2).stderr
        assert told.startswith("keyfold: /"), told
        assert len(told.splitlines()) == 1
    assert taken.read_text() == "mine"
    assert "lies ahead" in terminal.run("export", str(terminal.folder / "x"), "--since", "99999", status=1).stderr


def test_each_proof_and_each_export_is_written_down_to_its_end(terminal: Terminal) -> None:
    """Also of who takes one line and goes."""
    for position in ("1", "2", "3"):
        terminal.run("prove", position, "--out", str(terminal.folder / "one.tlog-proof"))
    deadline = time.monotonic() + 20
    counts: dict[str, int] = {}
    while counts.get("audit.exported.v1", 0) < max(3, counts.get("audit.export-begun.v1", 0)):
        assert time.monotonic() < deadline, counts
        lines = terminal.run("events", "--all", "--type", "audit.export-begun,audit.exported", "--json").stdout
        types = [json.loads(line)["type"] for line in lines.splitlines()]
        counts = {each: types.count(each) for each in types}


def test_a_live_log_is_verified_with_a_key_and_without(terminal: Terminal) -> None:
    terminal.grows()
    url = terminal.system.url
    first = terminal.json("verify", url)
    assert first["firstUse"]
    assert first["known"] == 0
    terminal.grows()
    second = terminal.json("verify", url)
    assert second["known"] == first["records"]
    assert 0 < second["records"] < first["records"] + 40
    assert "give a key" in terminal.run("verify", url, KEYFOLD_KEY=None).stdout
    assert terminal.json("verify", url, "--again")["records"] >= first["records"] + second["records"]
    assert "doesn't answer" in terminal.run("verify", f"http://127.0.0.1:{free_port()}", status=2).stdout
    narrow = terminal.system.integration_key
    assert "answered 403" in terminal.run("verify", url, status=2, KEYFOLD_KEY=narrow).stdout


def test_the_whole_log_is_verified_at_the_machine(terminal: Terminal) -> None:
    terminal.grows()
    out = terminal.folder / "whole"
    terminal.run("export", str(out), "--all", at_the_machine=True)
    assert terminal.json("verify", str(out))["workspaceId"] is None
    assert "all " in terminal.run("verify", at_the_machine=True).stdout
    assert not list(terminal.folder.glob("*.part"))


def test_what_cannot_be_is_said_and_leaves_nothing(terminal: Terminal) -> None:
    out = terminal.folder / "never"
    said = terminal.run("export", str(out), "--all", "--readable", status=2, at_the_machine=True).output
    assert "leave out --all" in said
    said = terminal.run("prove", "999999", "--out", str(out), status=1).output
    assert "ends before position 999999" in said
    assert not out.exists()


def test_a_bundle_has_what_happened_just_before(terminal: Terminal) -> None:
    """Though it isn't signed yet when the export begins."""
    headers = {"Authorization": f"Bearer {terminal.system.integration_key}"}
    answer = httpx.post(f"{terminal.system.url}/api/v1/external/partner", json={}, headers=headers)
    partner = answer.raise_for_status().json()["data"]["id"]
    httpx.get(
        f"{terminal.system.url}/api/v1/audit/events?minPosition={answer.headers['Keyfold-Position']}",
        headers={"Authorization": f"Bearer {terminal.system.account_key}"},
    ).raise_for_status()
    out = terminal.folder / "newest"
    terminal.run("export", str(out))
    assert partner in (out / "records.ndjson").read_text()


def test_a_record_is_proved_by_its_event_or_position(terminal: Terminal) -> None:
    event = terminal.grows()
    file = terminal.folder / "one.tlog-proof"
    made = terminal.json("prove", event, "--out", str(file))
    assert made["bytes"] == file.stat().st_size < 4_000
    assert "--vkey" in terminal.run("verify", str(file), status=2).stdout
    vkey = Signer.parse(terminal.machine["KEYFOLD_LOG_KEYS"]).verifier_key
    facts = terminal.json("verify", str(file), "--vkey", vkey)
    assert (facts["record"]["id"], facts["position"]) == (event, made["position"])
    again = terminal.folder / "again.tlog-proof"
    terminal.run("prove", str(made["position"]), "--out", str(again))
    assert again.read_bytes()[:40] == file.read_bytes()[:40]
    terminal.run("prove", "999999999", "--out", str(again), status=1)
    terminal.run("prove", "nothing", "--out", str(again), status=2)


def test_a_log_key_is_made(terminal: Terminal) -> None:
    made = terminal.json("keygen", "log.example/keyfold")
    assert Signer.parse(made["logKey"]).verifier_key == made["verifierKey"]
    said = terminal.run("keygen", "log.example/keyfold")
    assert Signer.parse(said.stdout.strip()).name == "log.example/keyfold"
    assert "not the name" in terminal.run("keygen", "two words", status=1).output


def test_ctrl_c_leaves_nothing_half_and_a_second_run_goes_on(terminal: Terminal) -> None:
    terminal.grows()
    out = terminal.folder / "out"
    ours, theirs = pty.openpty()
    given = {"KEYFOLD_URL": terminal.system.url, "KEYFOLD_KEY": terminal.system.account_key, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "keyfold", "audit", "export", str(out)],
        env={"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(terminal.folder), **given},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    part = out.with_name("out.part")
    deadline = time.monotonic() + 20
    while process.poll() is None and not part.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    os.close(ours)
    assert out.exists() == (process.returncode == 0)
    if process.returncode:
        assert not out.exists()
        terminal.run("export", str(out))
    assert not part.exists()
    terminal.run("verify", str(out))

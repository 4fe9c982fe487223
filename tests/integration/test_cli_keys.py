"""`keyfold keys …` against a running system: what people type, what they read, and what has then happened."""

import json
import os
import pty
import re
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from conftest import environment, free_port, make_settings, new_database, settings_of_worker
from examples.system import System, running
from keyfold.cli import client as client_module
from keyfold.cli.client import Client
from keyfold.cli.embedded import Nats, Postgres
from keyfold.cli.main import main

SECRET = re.compile(r"kf_prod_[0-9A-Za-z_]+")


class Terminal(NamedTuple):
    """Commands on this system, by an owner's key unless something else is said."""

    system: System
    machine: dict[str, str]
    partner: str

    def run(self, *arguments: str, status: int = 0, stdin: str = "", **variables: str | None) -> Result:
        given = {"KEYFOLD_URL": self.system.url, "KEYFOLD_KEY": self.system.account_key, **variables}
        result = CliRunner().invoke(main, ["keys", *arguments], input=stdin, env=given)
        assert result.exit_code == status, result.output
        return result

    def at_the_machine(self, *arguments: str, status: int = 0, **variables: str) -> Result:
        return self.run(*arguments, status=status, KEYFOLD_URL=None, KEYFOLD_KEY=None, **self.machine | variables)

    def json(self, *arguments: str, **more: Any) -> Any:
        return json.loads(self.run(*arguments, "--json", **more).stdout)

    def issue(self, *arguments: str, environment: str = "prod") -> Any:
        """A new key of the partner, with its secret."""
        of = ("--kind", "service", "--partner", self.partner, "--environment", environment)
        return self.json("issue", *of, *arguments)

    def show(self, key: str) -> Any:
        return self.json("show", key)

    def on_a_terminal(self, *arguments: str, answer: str = "", into: Path | None = None) -> tuple[int, str]:
        """The status of a process of its own that has a terminal, and what that shows; standard output may go into a
        file."""
        ours, theirs = pty.openpty()
        variables = {"KEYFOLD_URL": self.system.url, "KEYFOLD_KEY": self.system.account_key, "TERM": "xterm"}
        command = [sys.executable, "-m", "keyfold", "keys", *arguments]
        target = os.open(into, os.O_WRONLY | os.O_CREAT) if into else os.dup(theirs)
        process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=target,
            stderr=theirs,
            env={"PATH": os.environ["PATH"], **variables},
        )
        os.close(theirs)
        os.close(target)
        os.write(ours, answer.encode())
        output = b"".join(iter(lambda: _read(ours), b""))
        os.close(ours)
        return process.wait(timeout=30), output.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # how Linux says that the other side of a terminal is closed
        return b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def terminal(postgres_server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Terminal]:
    folder = tmp_path_factory.mktemp("system")
    database = await new_database(postgres_server)
    nats = Nats(folder / "nats", free_port(), durable=False)
    await nats.start()
    try:
        settings = make_settings(database, nats)
        async with running(settings, settings_of_worker(settings, nats), folder) as system:
            token = (await system.invite(appName="Acme", appDescription="", metadata={})).partition("#")[2]
            async with httpx.AsyncClient(base_url=system.url) as client:
                answer = await client.post("/api/v1/onboarding/redeem", json={"token": token})
            machine = environment(msgspec.structs.replace(settings, public_url=system.url))
            yield Terminal(system, machine, answer.json()["data"]["partner"]["id"])
    finally:
        await nats.stop()


def test_a_key_is_rotated_twice_and_ended(terminal: Terminal, tmp_path: Path) -> None:
    old = terminal.issue("--send", "app/order/*")
    first = tmp_path / "first.env"
    said = terminal.run("rotate", old["id"], "--overlap", "1h", "--starts", "first-use", "--write", str(first)).stdout
    assert "until the new one is first used, and then for 60m" in said
    assert not SECRET.search(said)
    new = terminal.show(old["id"])["successorId"]
    asked = ("--send", "app/order/created")
    assert terminal.json("verify", *asked, stdin=old["secret"])["valid"]
    assert terminal.show(old["id"])["retiresAt"] is None
    assert terminal.json("verify", *asked, "--file", str(first))["keyId"] == new
    while terminal.show(old["id"])["retiresAt"] is None:
        pass
    assert "retiring until" in terminal.run("show", old["id"]).stdout

    lost = terminal.json("rotate", new, "--starts", "first-use")
    said = terminal.run("rotate", new, "--overlap", "0").stdout
    assert "The old key is retired" in said
    latest = "key_" + (SECRET.findall(said)[0].split("_")[2])
    assert terminal.show(lost["id"])["status"] == "revoked"
    assert terminal.show(new)["successorId"] == latest
    assert terminal.json("verify", stdin=old["secret"], status=1)["code"] == "retired"

    terminal.run("suspend", latest, "--reason", "weekend")
    assert "suspended since" in terminal.run("show", latest).stdout
    terminal.run("reinstate", latest)
    assert terminal.run("revoke", latest, "--reason", "gone", "--yes").stdout.strip().endswith("Acme prod: revoked")
    assert terminal.show(latest)["revokedReason"] == "gone"


def test_a_list_is_read_to_its_end(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [terminal.issue("--tag", "listed")["id"] for _ in range(5)]
    while len(listed := _ids(terminal.run("list", "--tag", "listed", "--json"))) < 5:
        pass
    assert listed == made[::-1]
    monkeypatch.setattr(client_module, "PAGE", 2)
    assert _ids(terminal.run("list", "--tag", "listed", "--all", "--json")) == listed
    some = terminal.run("list", "--tag", "listed", "--limit", "3")
    assert [key for key in made if key in some.stdout] == made[2:]
    assert "more than 3" in some.stderr
    assert "more than" not in terminal.run("list", "--tag", "listed", "--limit", "5").stderr


def test_a_list_takes_the_filters_of_the_route(terminal: Terminal) -> None:
    narrow = terminal.issue("--send", "filtered/*", "--tag", "filtered", "--expires", "5d", "--name", "Filtered one")
    may = _ids(terminal.run("list", "--may", "send", "--topic", "filtered/a", "--json"))
    assert narrow["id"] in may
    assert narrow["id"] not in _ids(terminal.run("list", "--may", "send", "--topic", "app/a", "--json"))
    for filters in (("--expires-within", "6d"), ("--named", "tered o"), ("--tag", "filtered", "--status", "active")):
        assert _ids(terminal.run("list", *filters, "--json")) == [narrow["id"]]
    for none in (("--tag", "filtered", "--idle", "1d"), ("--tag", "filtered", "--issued-before", "-1h")):
        assert _ids(terminal.run("list", *none, "--json")) == []
    assert "whole days" in terminal.run("list", "--idle", "36h", status=2).stderr


def test_a_table_names_each_key_whole(terminal: Terminal) -> None:
    key = terminal.issue("--name", "[red]A name that is quite long[/] and then goes on for a while", "--expires", "30d")
    (row,) = [line for line in terminal.run("list", "--may", "send").stdout.splitlines() if key["id"] in line]
    assert re.split(r"\s{3,}", row.strip()) == [key["id"], key["name"], "prod", "active", "never", "in 30d"]


def test_a_secret_as_an_argument_is_refused_and_not_repeated(terminal: Terminal) -> None:
    said = terminal.run("show", terminal.system.account_key, status=2).output
    assert "by its id" in said
    assert terminal.system.account_key not in said


def test_the_operators_key_is_gone_when_the_command_is(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def own() -> list[Any]:
        keys = [json.loads(line) for line in terminal.run("list", "--all", "--json").stdout.splitlines()]
        return [key for key in keys if key["name"] == "keyfold keys, at the machine"]

    myself = json.loads(terminal.at_the_machine("show", "self", "--json").stdout)
    assert (myself["status"], myself["role"]) == ("active", "owner")
    lives = datetime.fromisoformat(myself["expiresAt"]) - datetime.fromisoformat(myself["issuedAt"])
    assert timedelta() < lives <= timedelta(minutes=15)
    assert terminal.show(myself["id"])["status"] == "revoked"

    terminal.at_the_machine("show", "key_01m7ypak2pfcytam0ge61tc7yg", status=1)

    def interrupted(self: Client, path: str, **params: object) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Client, "get", interrupted)
        assert "Aborted" in terminal.at_the_machine("show", "self", status=1).output
    while len(keys := own()) < 3 or any(key["status"] == "active" for key in keys):
        pass
    assert {key["status"] for key in keys} == {"revoked"}


def test_the_operators_key_goes_nowhere_else(terminal: Terminal) -> None:
    said = terminal.at_the_machine("list", "--url", terminal.system.url, status=1).output
    assert said.startswith("keyfold: ")
    assert "needs a key" in said


def test_a_key_can_always_be_issued_at_the_machine(terminal: Terminal) -> None:
    nowhere = "http://127.0.0.1:1"
    issued = terminal.at_the_machine(
        "issue", "--kind", "account", "--role", "owner", "--days", "2", "--json", KEYFOLD_PUBLIC_URL=nowhere
    )
    key = json.loads(issued.stdout)
    myself = terminal.json("show", "self", KEYFOLD_KEY=key["secret"])
    assert (myself["id"], myself["role"], myself["name"]) == (key["id"], "owner", "Issued by the operator")
    assert timedelta(days=1) < datetime.fromisoformat(myself["expiresAt"]) - datetime.now(UTC) <= timedelta(days=2)
    invites = json.loads(
        terminal.at_the_machine("issue", "--kind", "integration", "--json", KEYFOLD_PUBLIC_URL=nowhere).stdout
    )
    assert invites["integrationId"] == terminal.system.integration_id
    refused = terminal.at_the_machine("issue", "--kind", "account", "--role", "none", status=1).output
    assert refused.startswith("keyfold: ")
    assert "role: Give owner, admin," in refused


def test_a_key_is_read_from_a_file_that_holds_one(terminal: Terminal, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(f"A=1\nKEYFOLD_KEY='{terminal.system.integration_key}'\n")
    assert terminal.json("show", "self", "--key-file", str(file))["kind"] == "integration"
    file.write_text(f"{terminal.system.integration_key}\n{terminal.system.account_key}")
    assert "one key" in terminal.run("list", "--key-file", str(file), status=1).output


def test_a_change_shows_what_was_and_what_is(terminal: Terminal, tmp_path: Path) -> None:
    key = terminal.issue("--tag", "a", "--purpose", "Orders")["id"]
    more = tmp_path / "options.json"
    more.write_text('{"send": {"autofill": {"customer": "c_1"}}}')
    wanted = ("--name", "B", "--purpose", "", "--tag", "b", "--untag", "a", "--send", "app/*", "--no-receive",
              "--network", "10.0.0.0/8", "--options", str(more))  # fmt: skip
    planned = terminal.run("change", key, *wanted, "--dry-run").stdout
    assert terminal.show(key)["name"] == "Acme prod"
    assert terminal.run("change", key, *wanted).stdout.splitlines()[0] == "name  Acme prod → B"
    assert "tags  a → b" in planned
    assert "permitted  send, receive → send" in planned
    now = terminal.show(key)
    assert (now["tags"], now["purpose"], now["sourceNetworks"]) == (["b"], None, ["10.0.0.0/8"])
    assert now["options"] == {"send": {"topics": ["app/*"], "autofill": {"customer": "c_1"}}}
    assert terminal.run("change", key, "--network", "any", "--expires", "5d").stdout.startswith("expiresAt  nothing → ")
    again = terminal.run("change", key, "--never-expires", "--receive", "app/**").stdout
    assert "permitted  send → send, receive" in again
    assert terminal.show(key)["expiresAt"] is None
    assert terminal.run("change", key, "--name", "B").stdout == "Nothing changes.\n"
    assert "Say what" in terminal.run("change", key, status=2).output


def test_nobodys_change_is_undone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    key = terminal.issue()["id"]
    read = Client.read

    def overtaken(self: Client, path: str) -> Any:
        seen = read(self, path)
        monkeypatch.undo()
        terminal.run("change", key, "--name", "Theirs")
        return seen

    monkeypatch.setattr(Client, "read", overtaken)
    assert "Read it again" in terminal.run("change", key, "--name", "Mine", status=1).output
    assert terminal.show(key)["name"] == "Theirs"


def test_a_new_key_replaces_the_old_one_in_its_file(terminal: Terminal, tmp_path: Path) -> None:
    old = terminal.issue()
    file = tmp_path / ".env"
    file.write_text(f"A=1\nKEYFOLD_KEY={old['secret']}\nB=2\n")
    file.chmod(0o644)
    terminal.run("rotate", "self", "--key-file", str(file), "--write", str(file), KEYFOLD_KEY=None)
    new = SECRET.findall(file.read_text())[0]
    assert file.read_text() == f"A=1\nKEYFOLD_KEY={new}\nB=2\n"
    assert new != old["secret"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == [".env"]
    assert terminal.json("show", "self", "--key-file", str(file))["predecessorId"] == old["id"]


def test_a_file_that_cant_be_written_costs_no_key(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = terminal.issue()["id"]
    said = terminal.run("rotate", key, "--write", str(tmp_path / "none" / ".env"), status=1).output
    assert "nothing was done" in said
    assert terminal.show(key)["successorId"] is None

    def full(self: Path, target: object) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        result = terminal.run("rotate", key, "--write", str(tmp_path / ".env"), status=1)
    assert "No space left" in result.stderr
    assert terminal.json("verify", stdin=result.stdout)["keyId"] == terminal.show(key)["successorId"]
    assert [*tmp_path.iterdir()] == []


def test_what_cant_be_undone_is_asked_for(terminal: Terminal) -> None:
    key = terminal.issue("--name", "Asked for")["id"]
    assert "--yes" in terminal.run("revoke", key, "--reason", "x", status=2).output
    status, said = terminal.on_a_terminal("revoke", key, "--reason", "x", answer="n\n")
    assert (status, "Asked for (prod, last used: never)" in said) == (1, True)
    assert terminal.show(key)["status"] == "active"
    status, _ = terminal.on_a_terminal("revoke", key, "--reason", "x", answer="y\n")
    assert (status, terminal.show(key)["status"]) == (0, "revoked")


def test_colours_are_for_terminals(terminal: Terminal) -> None:
    key = terminal.issue()["id"]
    assert "\x1b[" in terminal.on_a_terminal("show", key)[1]
    assert "\x1b[" not in terminal.run("show", key).output


def test_a_refusal_is_explained_step_by_step(terminal: Terminal) -> None:
    key = terminal.issue("--send", "app/order/*", "--network", "10.0.0.0/8")["id"]
    said = terminal.run("explain", key, "--send", "app/invoice/a", "--address", "10.1.1.1").stdout.splitlines()
    assert said[0].startswith(f"✗ topic-not-permitted, {key} at ")
    assert [line.strip()[0] for line in said[1:5]] == ["✓", "✓", "✗", "✓"]
    assert said[3].endswith("[topic-not-permitted]")
    assert said[5].strip() == "in all it may send: app/order/*"
    assert terminal.json("explain", key, "--send", "app/order/a", "--address", "10.1.1.1")["valid"]
    assert terminal.json("explain", key, "--receive", "app/order/a")["code"] == "address-needed"
    assert terminal.json("explain", key, "--at", "-1d")["code"] == "not-issued"
    assert "one at a time" in terminal.run("explain", key, "--send", "a", "--receive", "b", status=2).output


def test_many_are_done_when_it_is_meant(terminal: Terminal) -> None:
    keys = {terminal.issue("--tag", "bulk")["id"] for _ in range(3)}
    of = ("--tag", "bulk", "--reason", "moving")
    planned = terminal.run("bulk", "suspend", *of)
    assert "3 match: 3 would be done, 0 unchanged, 0 refused." in planned.stdout
    assert "Nothing was done" in planned.stderr
    assert {terminal.show(key)["status"] for key in keys} == {"active"}
    lines = [json.loads(line) for line in terminal.run("bulk", "suspend", *of, "--yes", "--json").stdout.splitlines()]
    assert {(line["id"], line["outcome"]) for line in lines[:-1]} == {(key, "done") for key in keys}
    assert lines[-1]["done"] == 3
    assert {terminal.show(key)["suspendedReason"] for key in keys} == {"moving"}
    terminal.run("bulk", "reinstate", "--tag", "bulk", "--yes")
    rotated = terminal.run("bulk", "rotate", "--tag", "bulk", "--overlap", "0", "--yes").stdout
    assert {terminal.json("verify", stdin=each)["valid"] for each in SECRET.findall(rotated)} == {True}
    assert {terminal.show(key)["status"] for key in keys} == {"retired"}
    terminal.run("bulk", "revoke", *of, "--status", "active", "--yes")
    assert "condition" in terminal.run("bulk", "revoke", "--reason", "x", "--yes", status=1).output


def test_a_bar_takes_nothing_from_the_answer(terminal: Terminal, tmp_path: Path) -> None:
    key = terminal.issue("--tag", "bar", "--name", "Barred")["id"]
    status, shown = terminal.on_a_terminal("bulk", "rotate", "--tag", "bar", "--overlap", "1h")
    assert (status, "0/1" in shown or "1/1" in shown, "would" in shown) == (0, True, True)
    file = tmp_path / "answer"
    status, shown = terminal.on_a_terminal("bulk", "rotate", "--tag", "bar", "--yes", "--json", into=file)
    assert (status, "rotate" in shown) == (0, True)
    outcome, summary = map(json.loads, file.read_text().splitlines())
    assert outcome["successor"]["id"] == terminal.show(key)["successorId"]
    assert outcome["successor"]["secret"] not in shown
    assert summary["done"] == 1


def test_ctrl_c_says_how_far_it_came(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        terminal.issue("--tag", "stopped")
    stream = Client.stream

    def interrupted(self: Client, path: str, body: dict[str, Any]) -> Iterator[Any]:
        for number, line in enumerate(stream(self, path, body)):
            if number == 3:
                raise KeyboardInterrupt
            yield line

    monkeypatch.setattr(Client, "stream", interrupted)
    said = terminal.run("bulk", "suspend", "--tag", "stopped", "--reason", "x", "--yes", status=1).output
    assert "keyfold: Stopped after 2 of 3 keys." in said


def test_what_a_key_may_do_moves_on(terminal: Terminal) -> None:
    dev = terminal.issue("--send", "app/new/*", environment="dev")["id"]
    prod = terminal.issue("--send", "app/old/*")["id"]
    change = "options.send.topics  app/old/* → app/new/*\n"
    assert terminal.run("promote", dev, "--to", prod, "--dry-run").stdout == change
    assert terminal.show(prod)["options"]["send"]["topics"] == ["app/old/*"]
    assert terminal.run("promote", dev, "--to", prod).stdout == change
    assert terminal.show(prod)["options"]["send"]["topics"] == ["app/new/*"]
    assert "toKeyId: dev doesn't come after prod." in terminal.run("promote", prod, "--to", dev, status=1).output


def test_a_compromised_key_is_replaced_and_takes_its_delegates_with_it(terminal: Terminal) -> None:
    key = terminal.issue()["id"]
    part = terminal.json("delegate", key, "--name", "Contractor", "--send", "app/part/*", "--expires", "5d")
    assert (part["parentId"], part["permitted"], part["name"]) == (key, ["send"], "Contractor")
    said = terminal.run("compromise", key, "--reason", "leaked", "--replace", "--yes").stdout
    (secret,) = SECRET.findall(said)
    assert terminal.json("verify", stdin=secret)["valid"]
    assert said.splitlines()[0].endswith(": compromised")
    assert terminal.json("verify", stdin=part["secret"], status=1)["code"] in ("revoked", "compromised")


def test_use_is_counted_by_outcome(terminal: Terminal) -> None:
    key = terminal.issue("--send", "app/used/*")
    terminal.run("verify", "--send", "app/used/a", stdin=key["secret"])
    terminal.run("verify", "--send", "app/else/a", stdin=key["secret"], status=1)
    while len(terminal.json("usage", key["id"])["counts"]) < 2:
        pass
    said = terminal.run("usage", key["id"]).stdout
    assert re.search(r"to send\s+\d{4}-\d\d-\d\dT", said)
    assert re.search(r"^topic-not-permitted\s+1\s*$", said, re.MULTILINE)


def test_a_refusal_is_one_line_with_each_fault(terminal: Terminal) -> None:
    key = terminal.issue("--send", "app/order/*")["id"]
    said = terminal.run("delegate", key, "--send", "a", "--send", "b", "--receive", "c", status=1).output
    assert said.startswith("keyfold: ")
    assert said.count("\n") == 1
    assert {"options/send/topics/0", "options/send/topics/1"} <= set(re.findall(r"[a-zA-Z0-9/]+(?=: )", said))
    assert terminal.run("list", status=1, KEYFOLD_URL="http://127.0.0.1:1").output.startswith(
        "keyfold: http://127.0.0.1:1 "
    )


def _ids(result: Result) -> list[str]:
    return [json.loads(line)["id"] for line in result.stdout.splitlines()]


def test_the_past_is_shown_compared_and_searched(terminal: Terminal) -> None:
    key = terminal.issue("--send", "app/order/*", "--tag", "past")
    issued = httpx.get(
        f"{terminal.system.url}/api/v1/keys/{key['id']}",
        params={"asOf": datetime.now(UTC).isoformat()},
        headers={"Authorization": f"Bearer {terminal.system.account_key}"},
    ).headers["keyfold-position"]
    terminal.run("revoke", key["id"], "--reason", "lost", "--yes")
    assert terminal.show(key["id"])["status"] == "revoked"
    assert terminal.json("show", key["id"], "--as-of", issued)["status"] == "active"
    assert key["id"] in terminal.run("list", "--tag", "past", "--status", "active", "--as-of", issued).stdout
    assert "422" not in terminal.run("show", key["id"], "--as-of", "1h", status=1).output
    given = {"KEYFOLD_URL": terminal.system.url, "KEYFOLD_KEY": terminal.system.account_key}

    def audit(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(main, ["audit", *arguments], env=given)
        assert result.exit_code == status, result.output
        return result.output

    told = audit("changes", "--from", issued, "--key", key["id"])
    assert told.startswith(f"ended key {key['id']}")
    assert "status: active → revoked" in told
    (view,) = map(json.loads, audit("changes", "--from", issued, "--key", key["id"], "--json").splitlines())
    assert view["changed"] == ["/status", "/isActive", "/revokedAt", "/revokedReason"]
    who = ("holders", "--send", "app/order/created", "--partner", terminal.partner)
    assert key["id"] in audit(*who, "--as-of", issued)
    assert key["id"] not in audit(*who)
    assert json.loads(audit(*who, "--as-of", issued, "--json").splitlines()[0])["pattern"] == "app/order/*"
    audit("holders", status=2)
    audit("holders", "--send", "a", "--receive", "b", status=2)
    audit("changes", "--from", "tomorrow", status=2)

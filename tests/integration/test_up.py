"""`keyfold up` as a person runs it: the whole command, in a process of its own."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from keyfold.cli.up import running

_COMMAND = [sys.executable, "-m", "keyfold", "up"]
_REQUEST = {"appName": "Acme", "appDescription": "Orders.", "metadata": {"team": "integrations"}}


class Up:
    """A running `keyfold up --json`, ready; `line` is what it printed. Or as a person runs it: then `said` is what it
    printed, up to the link that signs in to the console."""

    def __init__(self, data: Path, *options: str, as_json: bool = True) -> None:
        self.started = time.monotonic()
        self._errors = (data.parent / f"{data.name}.err").open("a+")
        self.process = subprocess.Popen(
            [*_COMMAND, "--data", str(data), *(["--json"] if as_json else []), *options],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._stdout = self.process.stdout
        text = self._stdout.readline()
        assert text, self.errors()
        self.line: dict[str, Any] = json.loads(text) if as_json else {}
        self.said = text
        while not as_json and "/console" not in text:
            text = self._stdout.readline()
            assert text, self.said + self.errors()
            self.said += text

    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def children(self) -> dict[str, psutil.Process]:
        """Its four children by what they are."""
        kinds = {"api": "api", "worker": "worker", "-D": "postgres", "--config": "nats"}
        found = {}
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it may just be dying
                found.update({kinds[word]: child for word in child.cmdline() if word in kinds})
        return found

    def end(self, number: signal.Signals) -> int:
        """Signals the whole process group, as a terminal does; returns the status once every process is gone."""
        everything = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, number)
        status = self.process.wait(timeout=30)
        _wait(lambda: all(map(_gone, everything)))
        return status

    def rest(self) -> str:
        """What was printed after the line."""
        return self._stdout.read()

    def close(self) -> None:
        """Makes sure that nothing is left."""
        if self.process.poll() is None:
            self.end(signal.SIGTERM)
        self._stdout.close()
        self._errors.close()


@contextlib.contextmanager
def up(data: Path, *options: str, as_json: bool = True) -> Iterator[Up]:
    this = Up(data, *options, as_json=as_json)
    try:
        yield this
    finally:
        this.close()


def _gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _wait(true: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _refused(*options: str, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run([*_COMMAND, *options], input=stdin, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def _create(line: dict[str, Any], key: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{line['url']}/api/v1/external/partner", json=_REQUEST, headers=headers, timeout=10)


def _partners(line: dict[str, Any], key: str) -> list[Any]:
    answer = httpx.get(f"{line['url']}/api/v1/partners", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    assert answer.status_code == 200
    return list(answer.json()["data"])


def test_the_first_run_gives_keys_and_the_second_keeps_the_state(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """One line with two working keys; Ctrl-C ends it friendly, leaving no process; the next run knows everything."""
    data = tmp_path / "data"
    with up(data, "--port", "0") as first:
        assert set(first.line) == {"url", "natsUrl", "workspaceId", "integrationId", "integrationKey", "accountKey"}
        integration_key, account_key = first.line["integrationKey"], first.line["accountKey"]
        assert _create(first.line, integration_key).status_code == 201
        took = time.monotonic() - first.started
        record_property("measured", f"keyfold up: the first partner {took:.1f} s after it was started")
        assert first.end(signal.SIGINT) == 0
        assert "Stopped." in first.errors()
        assert first.rest() == ""
    with up(data) as second:
        expected = {**first.line, "integrationKey": None, "accountKey": None}
        assert second.line == expected
        assert len(_partners(second.line, account_key)) == 1
        assert second.end(signal.SIGTERM) == 0
    written = "".join(log.read_text() for log in (data / "logs").iterdir())
    assert integration_key not in written
    assert account_key not in written


def _signs_in(url: str, said: str, data: Path) -> None:
    """The link that was printed, once."""
    link = re.search(rf"{re.escape(url)}/console/sign-in#(kfi_\w+)", said)
    assert link is not None, said
    for status in (303, 410):
        form = {"token": link[1]}
        answer = httpx.post(f"{url}/console/sign-in", data=form, headers={"Origin": url}, timeout=10)
        assert answer.status_code == status
    assert [log for log in (data / "logs").iterdir() if link[1] in log.read_text()] == []


def test_others_find_what_runs_and_a_second_one_is_refused(tmp_path: Path) -> None:
    """`running` gives the settings of both processes, in a private file, while it runs; a second `up` names it. The
    link to the console that it prints signs in, and its token is in no log."""
    data = tmp_path / "data"
    assert running(data) is None
    with up(data, "--port", "0", as_json=False) as this:
        found = running(data)
        assert found is not None
        assert found["pid"] == this.process.pid
        assert (found["url"] in this.said, found["natsUrl"] in this.said) == (True, True)
        _signs_in(found["url"], this.said, data)
        assert found["api"]["KEYFOLD_NATS_KEYS"].startswith("1:")
        assert "KEYFOLD_NATS_KEYS" not in found["worker"]
        assert Path(found["worker"]["KEYFOLD_NATS_CREDENTIALS"]).stat().st_mode & 0o077 == 0
        assert "keyfold_worker@" in found["worker"]["KEYFOLD_DATABASE_URL"]
        for name in ("running.json", "secrets.json", "logs/api.log"):
            assert (data / name).stat().st_mode & 0o077 == 0
        status, said = _refused("--data", str(data))
        assert status == 1
        assert str(this.process.pid) in said
        assert found["url"] in said
    assert running(data) is None


def test_a_child_that_dies_is_started_again(tmp_path: Path) -> None:
    """SIGKILL to each of the four: it is said, and all is well again by itself."""
    with up(tmp_path / "data", "--port", "0") as this:
        before = this.children()
        assert set(before) == {"api", "worker", "postgres", "nats"}
        for child in before.values():
            child.kill()
        _wait(lambda: set(this.children()) == set(before) and not _same(this.children(), before))

        def answers() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return _create(this.line, this.line["integrationKey"]).status_code == 201
            return False

        _wait(answers)
        assert this.errors().count("was ended by SIGKILL") == 4


def _same(one: dict[str, psutil.Process], other: dict[str, psutil.Process]) -> bool:
    return any(one[kind].pid == other[kind].pid for kind in other)


def test_after_a_kill_the_next_run_goes_on(tmp_path: Path) -> None:
    """kill -9 of `up` itself: nothing stays behind for long, and the folder is good."""
    data = tmp_path / "data"
    with up(data, "--port", "0") as first:
        assert first.end(signal.SIGKILL) == -signal.SIGKILL
        assert running(data) is None
    with up(data) as second:
        assert second.line == {**first.line, "integrationKey": None, "accountKey": None}
        assert _create(second.line, first.line["integrationKey"]).status_code == 201


def test_reset_starts_over(tmp_path: Path) -> None:
    """New workspace, new keys, and the old ones are nobody's."""
    data = tmp_path / "data"
    with up(data, "--port", "0") as first:
        pass
    status, said = _refused("--data", str(data), "--reset")
    assert status == 2
    assert "--yes" in said
    with up(data, "--reset", "--yes") as second:
        assert second.line["workspaceId"] != first.line["workspaceId"]
        assert _create(second.line, first.line["integrationKey"]).status_code == 401
        assert _create(second.line, second.line["integrationKey"]).status_code == 201


def test_a_busy_port_is_stepped_around_and_named(tmp_path: Path) -> None:
    """Another program's port is left to it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with up(tmp_path / "data", "--port", str(port)) as this:
            assert this.line["url"] != f"http://127.0.0.1:{port}"
            assert httpx.get(f"{this.line['url']}/health/ready").status_code == 200
            assert f"port {port} is busy" in this.errors()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Neither used nor deleted, not even with --reset --yes."""
    precious = tmp_path / "thesis.txt"
    precious.write_text("precious")
    for options in ([], ["--reset", "--yes"]):
        status, said = _refused("--data", str(tmp_path), *options)
        assert status == 1
        assert said.startswith("keyfold: ")
        assert str(tmp_path) in said
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, said = _refused("--data", str(tmp_path / "file" / "data"))
    assert status == 1
    assert said.startswith("keyfold: The data folder")
    assert said.count("\n") == 1


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_while_it_starts_it_leaves_nothing(tmp_path: Path, signal_number: signal.Signals) -> None:
    """In the middle of the first start: status 0, no traceback, no process, and the next start works."""
    data = tmp_path / "data"
    with subprocess.Popen(
        [*_COMMAND, "--data", str(data), "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        _wait((data / "postgres").exists)
        everything = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal_number)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    _wait(lambda: all(map(_gone, everything)))
    with up(data) as this:
        assert _create(this.line, this.line["integrationKey"]).status_code == 201

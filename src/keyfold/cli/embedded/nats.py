"""nats-server as a child process: on the loopback interface, with logins that may do no more than they need."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from keyfold.cli.embedded.binaries import EmbeddedError, nats_binary
from keyfold.cli.embedded.child import Child, tail, until

_PERMISSIONS: dict[str, dict[str, Any]] = {
    "api": {"publish": ["keyfold.>"], "subscribe": ["keyfold.>", "_INBOX.>"], "allow_responses": True},
    "worker": {
        "publish": ["keyfold.>", "lc.>", "$JS.API.>", "$JS.ACK.>"],
        "subscribe": ["keyfold.>", "_INBOX.>"],
    },
    "gateway": {"publish": ["keyfold.verify"], "subscribe": ["_INBOX.>"]},
}
LOGINS = tuple(_PERMISSIONS)


class NatsLogin(NamedTuple):
    """A login of the embedded server."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"NatsLogin({self.user!r}, …)"


class Nats:
    """A server on 127.0.0.1 with JetStream in `folder`. Without passwords it makes some up."""

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        passwords: dict[str, str] | None = None,
        durable: bool = True,
        log: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.durable = durable
        passwords = passwords or {user: secrets.token_urlsafe(32) for user in LOGINS}
        self.api = NatsLogin("api", passwords["api"])
        self.worker = NatsLogin("worker", passwords["worker"])
        self.gateway = NatsLogin("gateway", passwords["gateway"])
        self.child = Child(
            "NATS",
            log=log or self.folder.with_suffix(".log"),
            note=self.folder.with_suffix(".pid"),
            say=say,
        )

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        return self.child.process

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self, timeout: float = 30.0) -> None:
        """Returns when it takes clients; its streams are there by then."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        await self.child.stop_orphan()
        for old in self.folder.glob("*.ports"):  # what is there after a crash says nothing of this run
            old.unlink()
        configuration = self.folder / "nats.conf"
        _write_private(configuration, self.configuration())
        self.child.spawn([str(nats_binary()), "--config", str(configuration)], folder=self.folder)
        if await until(lambda: self._ready() or not self.child.alive, timeout) and self._ready():
            return
        await self.child.stop()
        raise EmbeddedError(f"NATS did not start. Its log, {self.child.log}, ends:\n{tail(self.child.log)}")

    async def stop(self) -> None:
        await self.child.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill()

    def wipe(self) -> None:
        """Deletes every stream; only while it is stopped."""
        if self.child.alive:
            raise RuntimeError("NATS is running")
        shutil.rmtree(self.folder / "jetstream", ignore_errors=True)

    def configuration(self) -> str:
        """The configuration file. JSON strings and objects are valid in NATS's own format."""
        core = [_user(login) for login in (self.api, self.worker)]
        store = {"store_dir": str(self.folder), "sync_interval": "always" if self.durable else "2m"}
        return f"""\
server_name: keyfold
listen: "127.0.0.1:{self.port}"
ports_file_dir: {json.dumps(str(self.folder))}
jetstream: {json.dumps(store)}
accounts: {{
  CORE: {{
    jetstream: enabled
    users: {json.dumps(core)}
    exports: [{{ service: "keyfold.verify", accounts: ["GATEWAY"] }}]
  }}
  GATEWAY: {{
    users: {json.dumps([_user(self.gateway)])}
    imports: [{{ service: {{ account: "CORE", subject: "keyfold.verify" }} }}]
  }}
  SYS: {{}}
}}
system_account: SYS
"""

    def _ready(self) -> bool:
        """It writes this file when it listens. (A port that answers could be somebody else's.)"""
        return self.child.alive and any(self.folder.glob("*.ports"))


def _user(login: NatsLogin) -> dict[str, Any]:
    return {"user": login.user, "password": login.password, "permissions": _PERMISSIONS[login.user]}


def free_port(wanted: int = 0, *, host: str = "127.0.0.1") -> int:
    """The port if it is free, or else the next that is; 0 takes any."""
    for port in range(wanted, min(wanted + 200, 65536)):
        with socket.socket() as probe:
            # a port in TIME_WAIT is free for the servers, so it is for us
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedError(f"No port is free from {wanted} on.")


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # the mode below counts for new files only
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)

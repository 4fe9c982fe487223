"""nats-server as a child process: on the loopback interface, with logins that may do no more than they need."""

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from keyfold.bus.topology import Cluster, configuration, login
from keyfold.bus.trust import ROOT_LENGTH, Login, Root
from keyfold.cli.embedded.binaries import EmbeddedError, nats_binary
from keyfold.cli.embedded.child import Child, tail, until


class Nats:
    """A server on 127.0.0.1 with JetStream in `folder`. Without a root secret it makes one up.

    It trusts all `generations`, and its own logins are of the first.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        root: bytes | None = None,
        generations: tuple[int, ...] = (1,),
        cluster: Cluster | None = None,
        durable: bool = True,
        log: Path | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.durable = durable
        self.root = Root(root or secrets.token_bytes(ROOT_LENGTH))
        self.generations = [self.root.generation(each) for each in generations]
        self._cluster = cluster
        self.child = Child(
            "NATS",
            log=log or self.folder.with_suffix(".log"),
            note=self.folder.with_suffix(".pid"),
            say=say,
        )

    @property
    def keys(self) -> str:
        """What an API is given, for `KEYFOLD_NATS_KEYS`."""
        return ",".join(each.setting() for each in self.generations)

    def login(self, name: str) -> Login:
        return login(self.generations[0], name)

    def credentials(self, name: str) -> Path:
        """A file of credentials of one of our logins."""
        path = self.folder / f"{name}.creds"
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(path, self.login(name).file())
        return path

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
        """Deletes every stream and every account of an access key; only while it is stopped."""
        if self.child.alive:
            raise RuntimeError("NATS is running")
        for name in ("jetstream", "accounts"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def configuration(self) -> str:
        """The configuration file."""
        return configuration(
            self.root,
            self.generations,
            name=self.folder.name if self._cluster else "keyfold",
            listen=f"127.0.0.1:{self.port}",
            store=self.folder,
            durable=self.durable,
            cluster=self._cluster,
            more=f"ports_file_dir: {json.dumps(str(self.folder))}\n",
        )

    def _ready(self) -> bool:
        """It writes this file when it listens. (A port that answers could be somebody else's.)"""
        return self.child.alive and any(self.folder.glob("*.ports"))


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

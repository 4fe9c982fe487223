"""A machine of its own for one process: a network namespace, with a link for those who ask it, and one to NATS."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest


class Apart:
    """A namespace with two links. Whoever is in it has `address` for clients, and sees this machine as `gateway`."""

    def __init__(self) -> None:
        self.name = f"keyfold-{os.getpid()}"
        self.links = (f"kfa{os.getpid()}", f"kfn{os.getpid()}")
        network = f"10.231.{os.getpid() % 256}"
        self.address, self.gateway = f"{network}.2", f"{network}.129"
        self._hosts = (f"{network}.1/25", f"{network}.129/25")
        self._guests = (f"{network}.2/25", f"{network}.130/25")

    @property
    def within(self) -> list[str]:
        """The command that runs another in it."""
        return ["ip", "netns", "exec", self.name]

    def build(self) -> None:
        """Raises `CalledProcessError`, `OSError`."""
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for link, host, guest in zip(self.links, self._hosts, self._guests, strict=True):
            _ip("link", "add", link, "type", "veth", "peer", "name", "inside", "netns", self.name)
            _ip("-n", self.name, "link", "set", "inside", "name", f"in-{link}")
            _ip("address", "add", host, "dev", link)
            _ip("-n", self.name, "address", "add", guest, "dev", f"in-{link}")
            _ip("link", "set", link, "up")
            _ip("-n", self.name, "link", "set", f"in-{link}", "up")

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """The way to NATS swallows everything: nobody is told, no connection ends."""
        _ip("link", "set", self.links[1], "down")
        try:
            yield
        finally:
            _ip("link", "set", self.links[1], "up")

    def remove(self) -> None:
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", self.name)  # and with it its links


@contextmanager
def apart() -> Iterator[Apart]:
    """Skips the test where namespaces aren't permitted."""
    this = Apart()
    try:
        try:
            this.build()
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no network namespace can be made here: {getattr(error, 'stderr', error)}")
        yield this
    finally:
        this.remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)

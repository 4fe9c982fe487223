"""Three NATS servers on one machine that are one cluster, to stop and kill one by one."""

import asyncio
import secrets
from pathlib import Path

from conftest import free_port
from keyfold.bus.topology import Cluster
from keyfold.bus.trust import ROOT_LENGTH
from keyfold.cli.embedded import Nats


class NatsCluster:
    """Its servers are `Nats`, with one root: their keys and credentials are the same. Routes are on loopback alone."""

    def __init__(self, folder: Path, *, size: int = 3, generations: tuple[int, ...] = (1,)) -> None:
        root = secrets.token_bytes(ROOT_LENGTH)
        free = _ports(2 * size)
        ports, routes = free[:size], [f"127.0.0.1:{port}" for port in free[size:]]
        self.servers = [
            Nats(
                folder / f"n{number}",
                ports[number],
                root=root,
                generations=generations,
                cluster=Cluster("keyfold", routes[number], tuple(routes)),
                durable=False,
            )
            for number in range(size)
        ]

    @property
    def url(self) -> str:
        """All servers, as `KEYFOLD_NATS_URL` takes them."""
        return ",".join(server.url for server in self.servers)

    @property
    def keys(self) -> str:
        return self.servers[0].keys

    def credentials(self, name: str) -> Path:
        return self.servers[0].credentials(name)

    async def start(self) -> None:
        """Returns when each takes clients; JetStream's leader is elected within some seconds more."""
        await asyncio.gather(*[server.start() for server in self.servers])

    async def stop(self) -> None:
        await asyncio.gather(*[server.stop() for server in self.servers])


def _ports(count: int) -> list[int]:
    """Free ports, all different."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port())
    return [*found]

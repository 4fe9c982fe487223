"""`keyfold nats`: the configuration of an operator's own NATS servers, and what the processes log in with."""

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from keyfold.bus.topology import Cluster, configuration, login
from keyfold.bus.trust import ROOT_LENGTH, Generation, Root
from keyfold.settings import SettingsError, read_variable

_ROOT = "KEYFOLD_NATS_ROOT"
_ROUTES = 6222
_ADDRESS = r"(?P<{0}host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<{0}port>[0-9]{{1,5}})"
_SERVER = re.compile(rf"(?P<name>[A-Za-z0-9_-]+)={_ADDRESS.format('')}(?:/{_ADDRESS.format('route_')})?")


class Server(NamedTuple):
    """A server of a cluster: where clients reach it, and where the other servers do."""

    name: str
    host: str
    port: int
    route_host: str
    route_port: int

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def route(self) -> str:
        return f"{self.route_host}:{self.route_port}"


class Tls(NamedTuple):
    """Paths as the servers see them. With a `ca` the servers of a cluster show each other their certificates."""

    cert: str
    key: str
    ca: str | None

    def block(self) -> dict[str, str]:
        return {"cert_file": self.cert, "key_file": self.key, **({"ca_file": self.ca} if self.ca else {})}


class Shape(NamedTuple):
    """What all servers have in common."""

    listen: str
    store: Path
    http: str | None
    tls: Tls | None


class Output(NamedTuple):
    """A file to write: its place below the folder, its content, and who is to have it."""

    path: str
    text: str
    reader: str


@click.group()
def nats() -> None:
    """Make the configuration of your own NATS servers, and what the processes log in with."""


@nats.command()
def root() -> None:
    """Print a fresh root secret, from which every key at NATS follows. Keep it as KEYFOLD_NATS_ROOT."""
    click.echo(base64.b64encode(secrets.token_bytes(ROOT_LENGTH)).decode())


@nats.command()
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="The folder to write into."
)
@click.option(
    "--servers", help="A cluster: NAME=HOST:PORT[/ROUTEHOST:PORT], with commas between. Left out, one server."
)
@click.option(
    "--generations", default="1", show_default=True, help="Of the keys that servers trust; processes use the first."
)
@click.option("--listen", default="0.0.0.0:4222", show_default=True, help="HOST:PORT; of a cluster the host counts.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    default="/var/lib/nats",
    show_default=True,
    help="Where streams are kept.",
)
@click.option("--http", help="HOST:PORT of the servers' monitoring, which asks nobody who he is.")
@click.option("--tls-cert", help="The servers' certificate, as a path that they see.")
@click.option("--tls-key", help="Its private key.")
@click.option("--tls-ca", help="Who signs the servers' certificates: their routes use TLS as well.")
@click.option("--force", is_flag=True, help="Replace what is there.")
def config(
    out: Path,
    servers: str | None,
    generations: str,
    listen: str,
    store: Path,
    http: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    tls_ca: str | None,
    force: bool,
) -> None:
    """Write what servers, APIs, workers and gateways each need to know of the others, from KEYFOLD_NATS_ROOT."""
    known = read_root(os.environ)
    if bool(tls_cert) != bool(tls_key) or (tls_ca and not tls_cert):
        raise click.UsageError("--tls-cert and --tls-key go together, and --tls-ca with them.")
    tls = Tls(tls_cert, tls_key, tls_ca) if tls_cert and tls_key else None
    shape = Shape(_address(listen, "--listen"), store, http and _address(http, "--http"), tls)
    cluster = _servers(servers) if servers else ()
    trusted = [known.generation(number) for number in _generations(generations)]
    outputs = [*_configurations(known, trusted, shape, cluster), *_logins(trusted)]
    _write(out, outputs, force=force)
    click.echo(_told(out, outputs, cluster, shape))


def read_root(environment: Mapping[str, str]) -> Root:
    """The root in `KEYFOLD_NATS_ROOT`. Raises `SettingsError`."""
    text = read_variable(environment, _ROOT)
    if not text:
        raise SettingsError(
            f"{_ROOT} is not set. `keyfold nats root` prints a fresh one: keep it, it can't be made again."
        )
    try:
        return Root(base64.b64decode(text, validate=True))
    except ValueError:
        raise SettingsError(f"{_ROOT} takes the base64 of {ROOT_LENGTH} bytes or more.") from None


def _configurations(
    known: Root, trusted: Sequence[Generation], shape: Shape, cluster: Sequence[Server]
) -> Iterator[Output]:
    if not cluster:
        text = configuration(known, trusted, name="keyfold", listen=shape.listen, store=shape.store, more=_more(shape))
        yield Output("server/nats.conf", text, "the NATS server alone")
    host = shape.listen.rpartition(":")[0]
    for server in cluster:
        text = configuration(
            known,
            trusted,
            name=server.name,
            listen=f"{host}:{server.port}",
            store=shape.store,
            cluster=Cluster(
                "keyfold",
                listen=f"{host}:{server.route_port}",
                routes=tuple(each.route for each in cluster),
                advertise=server.route,
                tls=shape.tls.block() if shape.tls and shape.tls.ca else None,
            ),
            more=f"client_advertise: {json.dumps(server.address)}\n{_more(shape)}",
        )
        yield Output(f"server/{server.name}.conf", text, f"the NATS server {server.name} alone")


def _more(shape: Shape) -> str:
    monitoring = f"http: {json.dumps(shape.http)}\n" if shape.http else ""
    return monitoring + (f"tls: {json.dumps(shape.tls.block())}\n" if shape.tls else "")


def _logins(trusted: Sequence[Generation]) -> Iterator[Output]:
    keys = ",".join(each.setting() for each in trusted)
    yield Output("api/nats.keys", f"{keys}\n", "each `keyfold api`, as KEYFOLD_NATS_KEYS_FILE")
    yield Output(
        "worker/nats.creds", login(trusted[0], "worker").file(), "each `keyfold worker`, as KEYFOLD_NATS_CREDENTIALS"
    )
    yield Output("gateway/nats.creds", login(trusted[0], "gateway").file(), "whoever verifies keys over NATS")


def _write(folder: Path, outputs: Sequence[Output], *, force: bool) -> None:
    """Each whole or not at all, and for nobody else to read."""
    there = [output.path for output in outputs if (folder / output.path).exists()]
    if there and not force:
        raise click.ClickException(f"{folder} has {', '.join(there)} already: --force replaces what is there.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for output in outputs:
            path = folder / output.path
            path.parent.mkdir(mode=0o700, exist_ok=True)
            fresh = path.with_name(f".{path.name}.new")
            fresh.unlink(missing_ok=True)
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(output.text)
            fresh.replace(path)
    except OSError as error:
        raise click.ClickException(f"{folder} can't be written: {error.strerror}.") from error


def _told(folder: Path, outputs: Sequence[Output], cluster: Sequence[Server], shape: Shape) -> str:
    width = max(len(str(folder / output.path)) for output in outputs)
    lines = [f"{folder / output.path!s:<{width}}  for {output.reader}" for output in outputs]
    lines += [
        "",
        "Give each its own file and no other, and the root to none of them. (Re)start the servers first, one after",
    ]
    lines += ["the other (`nats-server --config FILE`), then the APIs and workers."]
    if cluster:
        scheme = "tls" if shape.tls else "nats"
        urls = ",".join(f"{scheme}://{server.address}" for server in cluster)
        lines += ["These have beside their file:", "", f"  KEYFOLD_NATS_URL={urls}"]
        lines += ["  KEYFOLD_NATS_REPLICAS=3"] if len(cluster) >= 3 else []
    return "\n".join(lines)


def _servers(text: str) -> tuple[Server, ...]:
    found = []
    for part in text.split(","):
        match = _SERVER.fullmatch(part.strip())
        if match is None:
            raise click.BadParameter(f"{part!r} isn't NAME=HOST:PORT[/ROUTEHOST:PORT].", param_hint="--servers")
        given = match.groupdict()
        route = given["route_host"] or given["host"], int(given["route_port"] or _ROUTES)
        found.append(Server(given["name"], given["host"], int(given["port"]), *route))
    for what in ("name", "address", "route"):
        if len({getattr(each, what) for each in found}) < len(found):
            raise click.BadParameter(f"two servers have the same {what}.", param_hint="--servers")
    if len(found) == 2:
        raise click.BadParameter("two servers can't outlive one of them: take three.", param_hint="--servers")
    return tuple(found)


def _generations(text: str) -> tuple[int, ...]:
    numbers = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch("[1-9][0-9]{0,3}", number) for number in numbers) or len({*numbers}) < len(numbers):
        raise click.BadParameter("takes numbers from 1 to 9999, such as 1 or 2,1.", param_hint="--generations")
    return tuple(map(int, numbers))


def _address(text: str, option: str) -> str:
    if not re.fullmatch(_ADDRESS.format(""), text):
        raise click.BadParameter(f"{text!r} isn't HOST:PORT.", param_hint=option)
    return text

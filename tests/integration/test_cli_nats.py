"""`keyfold nats`: what it writes is what servers and processes take, for whoever it is for and nobody else."""

import asyncio
import base64
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import nats.errors
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nats.aio.client import Client

from conftest import free_port
from keyfold.bus.topology import core_login
from keyfold.bus.trust import ROOT_LENGTH, Root, read_credentials, read_keys
from keyfold.cli.embedded.binaries import nats_binary
from keyfold.cli.main import main
from keyfold.settings import read_settings

SECRET = bytes(range(ROOT_LENGTH))
ROOT = Root(SECRET)
FILES = {"server/nats.conf", "api/nats.keys", "worker/nats.creds", "gateway/nats.creds"}
THREE = "n1=a.test:4222,n2=b.test:4222/10.0.0.2:7000,n3=[::1]:4223"


def run(*arguments: str, status: int = 0, root: str | None = base64.b64encode(SECRET).decode()) -> Result:
    done = CliRunner().invoke(main, ["nats", *arguments], env={"KEYFOLD_NATS_ROOT": root})
    assert done.exit_code == status, done.output
    return done


def written(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


async def accepts(file: Path) -> bool:
    """Whether the server takes the file, and all that it names."""
    checking = await asyncio.create_subprocess_exec(
        str(nats_binary()), "-t", "-c", str(file), stderr=asyncio.subprocess.DEVNULL
    )
    return await checking.wait() == 0


def test_a_root_is_fresh_each_time() -> None:
    first, second = (base64.b64decode(run("root", root=None).output) for _ in range(2))
    assert len(first) == len(second) == ROOT_LENGTH
    assert first != second


async def test_each_gets_a_file_of_its_own_that_nobody_else_can_read(tmp_path: Path) -> None:
    out = tmp_path / "nats"
    said = run("config", "--out", str(out)).output
    assert written(out) == FILES
    for path in (out, *out.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert all(str(out / name) in said for name in FILES)
    assert await accepts(out / "server" / "nats.conf")


def test_the_processes_read_what_is_theirs_and_nothing_of_the_root_is_in_it(tmp_path: Path) -> None:
    run("config", "--out", str(tmp_path), "--generations", "2,1")
    given = {"KEYFOLD_DATABASE_URL": "x", "KEYFOLD_PEPPERS": f"1:{base64.b64encode(SECRET).decode()}"}
    api = read_settings({**given, "KEYFOLD_NATS_KEYS_FILE": str(tmp_path / "api" / "nats.keys")})
    login = core_login(api)
    assert login is not None
    assert login.key.public == ROOT.generation(2).user("api").public
    assert [each.number for each in read_keys((tmp_path / "api" / "nats.keys").read_text())] == [2, 1]
    for name in ("worker", "gateway"):
        found = read_credentials((tmp_path / name / "nats.creds").read_text())
        assert found.key.public == ROOT.generation(2).user(name).public
    for name in written(tmp_path):
        text = (tmp_path / name).read_text()
        assert base64.b64encode(SECRET).decode()[:40] not in text
        assert ROOT.operator.seed not in text


def test_what_is_there_is_replaced_only_if_that_is_asked_for(tmp_path: Path) -> None:
    """Not even a file beside it is written then."""
    (tmp_path / "worker").mkdir()
    mine = tmp_path / "worker" / "nats.creds"
    mine.write_text("mine")
    assert "worker/nats.creds already: --force" in run("config", "--out", str(tmp_path), status=1).output
    assert (written(tmp_path), mine.read_text()) == ({"worker/nats.creds"}, "mine")
    run("config", "--out", str(tmp_path), "--force")
    assert (written(tmp_path), mine.stat().st_mode & 0o777) == (FILES, 0o600)
    assert read_credentials(mine.read_text())


async def test_a_cluster_has_a_file_for_each_server(tmp_path: Path) -> None:
    said = run("config", "--out", str(tmp_path), "--servers", THREE, "--http", "127.0.0.1:8222").output
    assert written(tmp_path) == FILES - {"server/nats.conf"} | {f"server/n{n}.conf" for n in (1, 2, 3)}
    assert "KEYFOLD_NATS_URL=nats://a.test:4222,nats://b.test:4222,nats://[::1]:4223\n" in said
    assert "KEYFOLD_NATS_REPLICAS=3\n" in said
    text = (tmp_path / "server" / "n2.conf").read_text()
    assert 'listen: "0.0.0.0:4222"\n' in text
    assert 'client_advertise: "b.test:4222"\n' in text
    assert '"listen": "0.0.0.0:7000"' in text
    for route in ("a.test:6222", "10.0.0.2:7000", "[::1]:6222"):
        assert f"nats://route:{ROOT.route_password()}@{route}" in text
    for n in (1, 2, 3):
        assert await accepts(tmp_path / "server" / f"n{n}.conf")
    assert ROOT.route_password() not in said


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--generations", "0"], "such as 1 or 2,1"),
        (["--generations", "1,1"], "such as 1 or 2,1"),
        (["--servers", "a.test:4222"], "NAME=HOST:PORT"),
        (["--servers", "n1=a:1,n1=b:1,n3=c:1"], "the same name"),
        (["--servers", "n1=a:1,n2=a:1,n3=c:1"], "the same address"),
        (["--servers", "n1=a:1,n2=b:1"], "take three"),
        (["--listen", "4222"], "HOST:PORT"),
        (["--http", 'x"\n:1'], "HOST:PORT"),
        (["--tls-cert", "c"], "go together"),
        (["--tls-ca", "c"], "go together"),
    ],
)
def test_wrong_usage_is_said_and_writes_nothing(tmp_path: Path, arguments: list[str], told: str) -> None:
    assert told in run("config", "--out", str(tmp_path), *arguments, status=2).output
    assert written(tmp_path) == set()


@pytest.mark.parametrize("root", [None, "", "hunter2", base64.b64encode(b"hunter2").decode()])
def test_a_root_that_is_missing_or_too_short_is_said_and_not_repeated(tmp_path: Path, root: str | None) -> None:
    said = run("config", "--out", str(tmp_path), status=2, root=root).output
    assert "KEYFOLD_NATS_ROOT" in said
    assert not root or root not in said


def make_certificate(folder: Path) -> None:
    """One that signs itself, for this machine, as server and as client."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "keyfold test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))


@asynccontextmanager
async def serving(file: Path, folder: Path) -> AsyncIterator[None]:
    """A server with this file, in a folder of its own."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            str(nats_binary()), "-c", str(file), cwd=folder, stderr=log, stdout=log
        )
    try:
        yield
    finally:
        server.kill()
        await server.wait()


@pytest.mark.long
async def test_three_servers_with_tls_are_a_cluster_that_keeps_three_copies(tmp_path: Path) -> None:
    """From the command's own files alone, and the client's own way to log in."""
    make_certificate(tmp_path)
    cert = str(tmp_path / "cert.pem")
    ports = [free_port() for _ in range(6)]
    assert len({*ports}) == 6
    servers = ",".join(f"n{n}=127.0.0.1:{ports[n]}/127.0.0.1:{ports[n + 3]}" for n in range(3))
    tls = ["--tls-cert", cert, "--tls-key", str(tmp_path / "key.pem"), "--tls-ca", cert]
    out = tmp_path / "nats"
    said = run("config", "--out", str(out), "--servers", servers, "--listen", "127.0.0.1:1", "--store", "data", *tls)
    assert f"tls://127.0.0.1:{ports[0]}," in said.output
    trusting = ssl.create_default_context(cafile=cert)
    async with AsyncExitStack() as stack:
        for n in range(3):
            await stack.enter_async_context(serving(out / "server" / f"n{n}.conf", tmp_path / f"n{n}"))
        client = Client()
        stack.push_async_callback(client.close)
        urls = [f"tls://127.0.0.1:{port}" for port in ports[:3]]
        await client.connect(urls, user_credentials=str(out / "worker" / "nats.creds"), tls=trusting)
        async with asyncio.timeout(20):
            while True:
                try:
                    await client.jetstream(timeout=1).add_stream(name="LIFECYCLE", subjects=["lc.>"], num_replicas=3)
                    break
                except nats.errors.Error:  # while they find each other and elect their leader
                    await asyncio.sleep(0.05)
        assert (await client.jetstream().publish("lc.x", b"1")).seq == 1
        cluster = (await client.jetstream().stream_info("LIFECYCLE")).cluster
        assert cluster is not None
        assert {cluster.leader, *[each.name for each in cluster.replicas or ()]} == {"n0", "n1", "n2"}

"""What can be known of compose.yaml without an engine to run it: shape, settings, commands, NATS configuration."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from keyfold.bus.nkeys import claims_of
from keyfold.bus.topology import core_login
from keyfold.cli.embedded.binaries import nats_binary
from keyfold.cli.main import COMMANDS, main
from keyfold.cli.migrate import logins_of
from keyfold.settings import Settings, read_settings

FILE = Path(__file__).parents[2] / "compose.yaml"
PEPPERS = f"1:{'A' * 43}="
VARIABLES = {
    "KEYFOLD_PEPPERS": PEPPERS,
    "POSTGRES_PASSWORD": "superuser",
    "API_POSTGRES_PASSWORD": "0a1b",
    "WORKER_POSTGRES_PASSWORD": "2c3d",
    "KEYFOLD_NATS_ROOT": f"{'B' * 43}=",
}
_PLACE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[?-])(?P<rest>[^}]*))?\})")


class UnsetError(Exception):
    """A variable that has to be set isn't."""


def interpolated(part: Any, variables: dict[str, str]) -> Any:
    """As Compose does it, in the values: `$$`, `${NAME:-default}`, `${NAME:?message}`."""
    if isinstance(part, dict):
        return {name: interpolated(each, variables) for name, each in part.items()}
    if isinstance(part, list):
        return [interpolated(each, variables) for each in part]

    def value(place: re.Match[str]) -> str:
        if place["name"] is None:
            return "$"
        if variables.get(place["name"]):
            return variables[place["name"]]
        if place["kind"] == "?":
            raise UnsetError(f"{place['name']}: {place['rest']}")
        return place["rest"] or ""

    return _PLACE.sub(value, part) if isinstance(part, str) else part


def compose(variables: dict[str, str] = VARIABLES) -> Any:
    return interpolated(yaml.safe_load(FILE.read_text(encoding="utf-8")), variables)


def variables_of(service: str) -> dict[str, str]:
    return dict(compose()["services"][service]["environment"])


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """What the service nats-config writes, with its command and its variables, where its volumes would be."""
    service = compose()["services"]["nats-config"]
    command = [each.replace("--out=/nats", f"--out={tmp_path}") for each in service["command"]]
    assert command != service["command"]
    done = CliRunner().invoke(main, command, env=dict(service["environment"]))
    assert done.exit_code == 0, done.output
    return tmp_path


def mounts(service: str) -> dict[str, str]:
    """The volume of each path in a service, and `ro` where it may only read."""
    found = [each.partition(":") for each in compose()["services"][service].get("volumes", ())]
    return {path: name for name, _, path in found}


def test_it_has_the_six_services_and_each_is_waited_for() -> None:
    services = compose()["services"]
    assert services.keys() == {"postgres", "nats", "nats-config", "migrate", "api", "worker"}
    for name in ("postgres", "nats", "api", "worker"):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert services["nats"]["depends_on"] == {"nats-config": {"condition": "service_completed_successfully"}}
    for name in ("api", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", VARIABLES)
def test_an_unset_secret_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UnsetError, match=name):
        compose({**VARIABLES, name: ""})


@pytest.mark.parametrize("service", ["migrate", "api", "worker"])
def test_every_variable_of_a_service_is_a_setting_that_exists(service: str) -> None:
    known = {f"KEYFOLD_{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
    assert {name.removesuffix("_FILE") for name in variables_of(service)} <= known


@pytest.mark.parametrize("service", ["api", "worker"])
def test_the_processes_can_read_their_settings(service: str, configured: Path) -> None:
    given = {name: value.replace("/nats/", f"{configured}/") for name, value in variables_of(service).items()}
    settings = read_settings(given)
    login = core_login(settings)
    assert login is not None
    assert claims_of(login.jwt)["name"] == service
    assert settings.database_url.startswith(f"postgresql://keyfold_{service}:")
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert f":{settings.port}/health/ready" in str(compose()["services"][service]["healthcheck"])


def test_the_migration_gives_the_logins_the_passwords_that_the_processes_use() -> None:
    assert logins_of(variables_of("migrate")) == {"keyfold_api": "0a1b", "keyfold_worker": "2c3d"}
    assert variables_of("migrate")["KEYFOLD_DATABASE_URL"] == variables_of("api")["KEYFOLD_DATABASE_URL"]
    assert variables_of("migrate")["KEYFOLD_WORKER_DATABASE_URL"] == variables_of("worker")["KEYFOLD_DATABASE_URL"]


@pytest.mark.parametrize("service", ["migrate", "api", "worker"])
def test_the_commands_exist(service: str) -> None:
    (command,) = compose()["services"][service]["command"]
    assert command in COMMANDS
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_the_server_accepts_the_configuration_of_nats(configured: Path) -> None:
    file = configured / "server" / "nats.conf"
    command = [str(nats_binary()), "-t", "-c", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert '"store_dir": "/data"' in file.read_text()
    assert ":8222/healthz" in str(compose()["services"]["nats"]["healthcheck"])
    assert 'http: "127.0.0.1:8222"' in file.read_text()


def test_each_service_sees_its_own_file_of_nats_and_only_reads_it(configured: Path) -> None:
    """The folders that are written are the volumes, and each of them has one reader."""
    written = mounts("nats-config")
    folders = {file.parent.relative_to(configured) for file in configured.rglob("*") if file.is_file()}
    assert {f"/nats/{folder}" for folder in folders} == {*written}
    assert mounts("nats") == {"/data": "nats", "/etc/keyfold:ro": written["/nats/server"]}
    assert mounts("api") == {"/nats/api:ro": written["/nats/api"]}
    assert mounts("worker") == {"/nats/worker:ro": written["/nats/worker"]}
    assert {name for service in compose()["services"] for name in mounts(service).values()} == {*compose()["volumes"]}


def test_only_the_worker_has_the_key_of_the_log() -> None:
    services = compose({**VARIABLES, "KEYFOLD_LOG_KEYS": "PRIVATE+KEY+name"})["services"]
    assert [name for name in services if "PRIVATE+KEY" in str(services[name])] == ["worker"]


def test_only_the_service_that_makes_the_keys_has_the_root() -> None:
    services = compose()["services"]
    assert [name for name in services if VARIABLES["KEYFOLD_NATS_ROOT"] in str(services[name])] == ["nats-config"]


def test_the_image_takes_what_the_build_needs_and_nothing_of_a_machine() -> None:
    dockerfile = compose()["services"]["api"]["build"]["dockerfile_inline"]
    copied = " ".join(re.findall(r"COPY (.*) \S+$", dockerfile, re.MULTILINE)).split()
    root = FILE.parent
    assert all((root / name).exists() for name in copied)
    sent = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {*copied}
    assert "\nUSER keyfold\n" in dockerfile
    assert re.findall(r"FROM (\S+)", dockerfile) == ["python:3.13-slim"]

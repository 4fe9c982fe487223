"""What can be known of compose.yaml without an engine to run it: shape, settings, commands, NATS configuration."""

import re
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]
from click.testing import CliRunner

from keyfold.cli.embedded import Nats
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
    "API_NATS_PASSWORD": "4e5f",
    "WORKER_NATS_PASSWORD": "6a7b",
    "GATEWAY_NATS_PASSWORD": "8c9d",
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


def test_it_has_the_five_services_and_each_is_waited_for() -> None:
    services = compose()["services"]
    assert services.keys() == {"postgres", "nats", "migrate", "api", "worker"}
    for name in ("postgres", "nats", "api", "worker"):
        assert services[name]["healthcheck"]["test"][0] == "CMD", name
    assert services["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
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
    assert variables_of(service).keys() <= known


@pytest.mark.parametrize("service", ["api", "worker"])
def test_the_processes_can_read_their_settings(service: str) -> None:
    settings = read_settings(variables_of(service))
    assert settings.database_url.startswith(f"postgresql://keyfold_{service}:")
    assert (settings.nats_user, settings.host, settings.port) == (service, "0.0.0.0", 8080)
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


def test_the_server_accepts_the_configuration_of_nats(tmp_path: Path) -> None:
    file = tmp_path / "nats.conf"
    file.write_text(compose()["configs"]["nats"]["content"])
    command = [str(nats_binary()), "-t", "-c", str(file)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "configuration file" in checked.stderr


def test_the_logins_at_nats_may_do_what_those_of_the_embedded_server_may(tmp_path: Path) -> None:
    composed = compose()["configs"]["nats"]["content"]
    embedded = Nats(tmp_path, 4222).configuration()
    for user in ("api", "worker", "gateway"):
        assert permissions(composed, user) == permissions(embedded, user)
    assert permissions(composed, "api")["publish"] == ["keyfold.>"]
    for configuration in (composed, embedded):
        assert len(re.findall(r'"?allow_responses"?: true', configuration)) == 1


def permissions(configuration: str, user: str) -> dict[str, list[str]]:
    """The subjects that a login may publish and subscribe, whichever way the configuration writes them."""
    of_user = re.split(r'"?user"?: "', configuration)
    (text,) = [each for each in of_user if each.startswith(f'{user}"')]
    lists = re.findall(r'"?(publish|subscribe)"?: \[([^\]]*)\]', text)
    return {name: re.findall(r'"([^"]+)"', subjects) for name, subjects in lists}


def test_the_image_takes_what_the_build_needs_and_nothing_of_a_machine() -> None:
    dockerfile = compose()["services"]["api"]["build"]["dockerfile_inline"]
    copied = " ".join(re.findall(r"COPY (.*) \S+$", dockerfile, re.MULTILINE)).split()
    root = FILE.parent
    assert all((root / name).exists() for name in copied)
    sent = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sent == {*copied}
    assert "\nUSER keyfold\n" in dockerfile
    assert re.findall(r"FROM (\S+)", dockerfile) == ["python:3.13-slim"]

"""Settings: read from the environment, wrong ones named and never repeated."""

import base64
from pathlib import Path

import msgspec
import pytest

from keyfold.settings import Settings, SettingsError, read_settings

PEPPER = base64.b64encode(b"p" * 32).decode()
ENOUGH = {"KEYFOLD_DATABASE_URL": "postgresql://somewhere", "KEYFOLD_PEPPERS": f"1:{PEPPER}"}


def test_database_and_peppers_are_enough() -> None:
    settings = read_settings(ENOUGH)
    assert (settings.database_url, settings.port) == ("postgresql://somewhere", 8080)
    assert {version: secret.reveal for version, secret in settings.peppers.items()} == {1: b"p" * 32}


def test_numbers_are_read_as_numbers_and_other_variables_are_let_alone() -> None:
    settings = read_settings({**ENOUGH, "KEYFOLD_PORT": "9000", "KEYFOLD_NATS_REPLICAS": "3", "PATH": "x"})
    assert (settings.port, settings.nats_replicas) == (9000, 3)


def test_every_setting_has_a_variable() -> None:
    given = {f"KEYFOLD_{field.name.upper()}": "7" for field in msgspec.structs.fields(Settings)}
    settings = read_settings({**given, "KEYFOLD_PEPPERS": f"7:{PEPPER}"})
    assert {str(getattr(settings, field.name)) for field in msgspec.structs.fields(Settings)} == {
        "7",
        "Secret(…)",
        "{7: Secret(…)}",
    }


def test_several_peppers_are_read_with_their_versions() -> None:
    other = base64.b64encode(b"q" * 48).decode()
    peppers = read_settings({**ENOUGH, "KEYFOLD_PEPPERS": f"1:{PEPPER}, 12:{other}"}).peppers
    assert {version: secret.reveal for version, secret in peppers.items()} == {1: b"p" * 32, 12: b"q" * 48}


@pytest.mark.parametrize("missing", ENOUGH)
def test_a_missing_variable_is_named(missing: str) -> None:
    with pytest.raises(SettingsError, match=missing):
        read_settings({name: value for name, value in ENOUGH.items() if name != missing})


@pytest.mark.parametrize("seconds", ["0", "61", "-5"])
def test_checkpoints_come_between_every_second_and_every_minute(seconds: str) -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_CHECKPOINT_SECONDS"):
        read_settings({**ENOUGH, "KEYFOLD_CHECKPOINT_SECONDS": seconds})


@pytest.mark.parametrize("name", ["KEYFOLD_PORT", "KEYFOLD_NATS_REPLICAS", "KEYFOLD_CHECKPOINT_SECONDS"])
def test_what_is_no_number_is_named_and_not_repeated(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings({**ENOUGH, name: "hunter2"})
    assert name in str(error.value)
    assert "hunter2" not in str(error.value)


SHORT = base64.b64encode(b"p" * 31).decode()


@pytest.mark.parametrize(
    "text", ["", "hunter2", PEPPER, f"one:{PEPPER}", f":{PEPPER}", f"1:{SHORT}", "1:hunter2!", f"1:{PEPPER},", "1:"]
)
def test_peppers_that_cant_be_read_are_named_and_not_repeated(text: str) -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_PEPPERS") as error:
        read_settings({**ENOUGH, "KEYFOLD_PEPPERS": text})
    said = str(error.value)
    assert "hunter2" not in said
    assert PEPPER not in said
    assert SHORT not in said


def test_a_version_of_the_pepper_stands_once() -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_PEPPERS has version 1 twice"):
        read_settings({**ENOUGH, "KEYFOLD_PEPPERS": f"1:{PEPPER},1:{PEPPER}"})


def test_settings_show_no_secret_and_no_database_url() -> None:
    settings = read_settings({**ENOUGH, "KEYFOLD_NATS_KEYS": "1:hunter2", "KEYFOLD_LOG_KEYS": "PRIVATE+hunter2"})
    assert settings.nats_keys is not None
    assert settings.log_keys is not None
    assert settings.nats_keys.reveal == b"1:hunter2"
    shown = repr(settings) + str(settings)
    assert "hunter2" not in shown
    assert "somewhere" not in shown
    assert PEPPER not in shown


def test_a_value_may_be_in_a_file_that_the_variable_names(tmp_path: Path) -> None:
    """As secrets are given in containers; a line's end is not part of it."""
    file = tmp_path / "peppers"
    file.write_text(f"1:{PEPPER}\n")
    settings = read_settings({"KEYFOLD_DATABASE_URL": "x", "KEYFOLD_PEPPERS_FILE": str(file)})
    assert settings.peppers[1].reveal == b"p" * 32


def test_a_file_that_cant_be_read_or_a_value_beside_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="KEYFOLD_PEPPERS_FILE") as error:
        read_settings({"KEYFOLD_DATABASE_URL": "x", "KEYFOLD_PEPPERS_FILE": str(tmp_path / "hunter2")})
    assert "hunter2" not in str(error.value)
    with pytest.raises(SettingsError, match="KEYFOLD_PEPPERS and KEYFOLD_PEPPERS_FILE"):
        read_settings({**ENOUGH, "KEYFOLD_PEPPERS_FILE": str(tmp_path)})

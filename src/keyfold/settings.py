"""Settings, read once from the environment.

Every name begins with `KEYFOLD_`; with `_FILE` at its end it names a file that has the value. `keyfold up` sets them
all by itself.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec


class SettingsError(Exception):
    """A setting is missing or can't be read; the message names it and says what it takes."""


class Secret:
    """Bytes that show nothing of themselves in a log, a traceback or a `repr`."""

    __slots__ = ("reveal",)

    def __init__(self, value: bytes) -> None:
        self.reveal = value

    def __repr__(self) -> str:
        return "Secret(…)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one process needs to know.

    `database_url` is that of the process's own login (`keyfold_api` or `keyfold_worker`);
    `admin_database_url`, a superuser's, is read by `keyfold migrate` alone.
    `trusted_proxies` are the addresses or networks, separated by commas, whose `X-Forwarded-For` is believed.
    `nats_keys` are the API's, as `keyfold nats config` gives them; every other process logs in with a file of
    credentials, `nats_credentials`.
    `log_keys` are a worker's alone: what signs the log's checkpoints, as `keyfold audit keygen` makes it, the newest
    first and separated by commas. `checkpoint_seconds` is how long a checkpoint stays the last one at least,
    `checkpoint_file` where each is written as well, and `witnesses` are those asked to cosign: `<vkey> <url>`,
    separated by commas.
    `peppers` maps a version to at least 32 bytes; the highest version is used for what is issued now.
    """

    database_url: str
    peppers: dict[int, Secret]
    admin_database_url: str = ""
    worker_database_url: str = ""
    nats_url: str = "nats://127.0.0.1:4222"
    nats_keys: Secret | None = None
    nats_credentials: str = ""
    nats_replicas: int = 1
    public_url: str = "http://127.0.0.1:8080"
    public_nats_url: str = "nats://127.0.0.1:4222"
    host: str = "127.0.0.1"
    port: int = 8080
    trusted_proxies: str = ""
    log_keys: Secret | None = None
    checkpoint_seconds: Annotated[int, msgspec.Meta(ge=1, le=60)] = 5
    checkpoint_file: str = ""
    witnesses: str = ""
    log_level: str = "info"
    log_format: str = "json"

    def __repr__(self) -> str:
        return f"Settings(public_url={self.public_url!r}, …)"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from `KEYFOLD_…` variables. Raises `SettingsError`, which never repeats a value."""
    given: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        name = f"KEYFOLD_{field.name.upper()}"
        value = read_variable(environment, name)
        if value is not None:
            given[field.name] = value
        elif field.required:
            raise SettingsError(f"{name} is not set. On one machine `keyfold up` needs no settings at all.")
    if "peppers" in given:
        given["peppers"] = read_peppers(str(given["peppers"]))
    for name in ("nats_keys", "log_keys"):
        if name in given:
            given[name] = Secret(str(given[name]).encode())
    try:
        return msgspec.convert(given, Settings, strict=False, dec_hook=_keep)
    except msgspec.ValidationError as error:
        expected, _, name = str(error).partition(" - at `$.")
        raise SettingsError(f"KEYFOLD_{name.rstrip('`').upper()} can't be read: {expected}") from None


def read_variable(environment: Mapping[str, str], name: str) -> str | None:
    """The value of a variable, or the content of the file that the variable `<name>_FILE` names."""
    file = environment.get(f"{name}_FILE")
    if file is None:
        return environment.get(name)
    if name in environment:
        raise SettingsError(f"{name} and {name}_FILE are both set: which of them is meant?")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"The file that {name}_FILE names can't be read.") from None


def read_peppers(text: str) -> dict[int, Secret]:
    """`1:<base64>,2:<base64>` as versioned peppers of at least 32 bytes."""
    peppers: dict[int, Secret] = {}
    for part in text.split(","):
        version, _, encoded = part.strip().partition(":")
        try:
            value = base64.b64decode(encoded, validate=True)
        except ValueError:
            value = b""
        if not re.fullmatch("[1-9][0-9]{0,3}", version) or len(value) < 32:
            raise SettingsError(
                "KEYFOLD_PEPPERS takes <version>:<base64 of 32 bytes or more>, separated by commas, "
                "with versions from 1 to 9999."
            )
        if int(version) in peppers:
            raise SettingsError(f"KEYFOLD_PEPPERS has version {version} twice.")
        peppers[int(version)] = Secret(value)
    return peppers


def _keep(kind: type, value: object) -> object:
    if isinstance(value, kind):
        return value
    raise TypeError(f"expected {kind.__name__}")

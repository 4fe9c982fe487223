"""`keyfold keys rotate`: a successor, and time to go over to it."""

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from keyfold.cli.client import Client
from keyfold.cli.key_list import PATH
from keyfold.cli.output import Output, span, when
from keyfold.cli.remote import remote
from keyfold.cli.values import DURATION, KEY_ID

VARIABLE = "KEYFOLD_KEY"
_LINE = re.compile(rf"^(?:export\s+)?{VARIABLE}=.*$", re.MULTILINE)


@click.command()
@click.argument("key", type=KEY_ID)
@click.option("--overlap", type=DURATION, help="How long the old key goes on: 24h, 0; the policy's if left out.")
@click.option("--starts", type=click.Choice(["now", "first-use"]), help="When the overlap begins.")
@click.option(
    "--write",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Puts the new key into this .env as {VARIABLE}, readable by you alone, instead of showing it.",
)
@remote
def rotate(
    client: Client, out: Output, key: str, overlap: timedelta | None, starts: str | None, write: Path | None
) -> None:
    """Give a key a successor. Its secret is shown this once. A key may rotate itself: `self`."""
    body: dict[str, Any] = {} if starts is None else {"overlapStarts": starts}
    if overlap is not None:
        body["overlapSeconds"] = int(overlap.total_seconds())
    if write is None:
        _tell(out, client.post(f"{PATH}/{key}/rotate", body), overlap, None)
        return
    with staged(write) as put:  # made first: a folder that can't be written to must not cost the secret
        view = client.post(f"{PATH}/{key}/rotate", body)
        try:
            put(view["secret"])
        except OSError as error:
            _tell(out, view, overlap, None)
            raise click.ClickException(f"{write} could not be written: {error.strerror}. The key is above.") from error
    _tell(out, {name: value for name, value in view.items() if name != "secret"}, overlap, write)


@contextmanager
def staged(path: Path) -> Iterator[Callable[[str], None]]:
    """Hands out what puts a key into the file, whole or not at all; its other lines stay. Raises
    `click.ClickException` when that can't be begun."""
    target = path.resolve()
    try:
        before = target.read_text(encoding="utf-8") if target.exists() else ""
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")  # with mode 0600
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{path} can't be written, so nothing was done: {error}") from error

    def put(key: str) -> None:
        line = f"{VARIABLE}={key}"
        after = _LINE.sub(line, before) if _LINE.search(before) else f"{before.rstrip()}\n{line}\n".lstrip()
        with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(after)
        os.fsync(descriptor)
        Path(name).replace(target)

    try:
        yield put
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def _tell(out: Output, view: dict[str, Any], overlap: timedelta | None, write: Path | None) -> None:
    """The secret, unless it was written; until when the old key works; what to do next."""
    if out.as_json:
        out.data(view)
        return
    old = view["predecessor"]
    out.line(f"{old['id']} is followed by {view['id']}, {view['environment'] or view['kind']}.")
    out.line(f"It is in {write} as {VARIABLE}." if write else f"Shown this once:\n\n  {view['secret']}\n")
    out.line(_until(old, overlap))
    if old["status"] == "retiring":
        out.note("Put the new key wherever the old one is used, and then look at when the old one was last used:")
        out.note(f"  keyfold keys show {old['id']}")


def _until(old: dict[str, Any], overlap: timedelta | None) -> str:
    if old["status"] != "retiring":
        return f"The old key is {old['status']}: it can't be used any more."
    if old["retiresAt"] is None:
        then = f"for {span(overlap.total_seconds())}" if overlap else "for as long as the policy says"
        return f"The old key works until the new one is first used, and then {then}."
    return f"The old key works until {when(old['retiresAt'])}."

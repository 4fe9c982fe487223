"""`keyfold audit export`, `verify`, `prove` and `keygen`: the log as a proof, for those who don't trust us."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from keyfold.audit.signing import Signer
from keyfold.cli.client import Client
from keyfold.cli.output import Output
from keyfold.cli.remote import connected, given_key, options, remote
from keyfold.cli.system import data_option, find_system
from keyfold.cli.whole_log import demand_tail, export_whole, said
from keyfold.domain.ids import is_id
from keyfold_client.audit.exporting import export_workspace, prove_record, size_in
from keyfold_client.audit.live import Server
from keyfold_client.audit.manifests import Manifest
from keyfold_client.audit.memory import Memory, state_folder
from keyfold_client.audit.notes import NoteError
from keyfold_client.audit.trust import AlteredError, Asked, LackingError, Progress, parsed_checkpoint
from keyfold_client.audit.verdicts import ALTERED, Verdict, judged
from keyfold_client.audit.verdicts import verify as verified

PATIENCE = 15.0
"""Seconds that a new event gets until a checkpoint holds it."""
_state_option = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="What was seen of logs is kept here, by default in ~/.local/state/keyfold/audit.",
)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Both keys as JSON.")
def keygen(name: str, as_json: bool) -> None:
    """Print a new key that signs the log called NAME, such as log.example.com/keyfold, and its verifier key.

    Put the first into KEYFOLD_LOG_KEYS of the workers, in front of those that are there; publish the second.
    """
    try:
        signer = Signer.generate(name)
    except NoteError as error:
        raise click.ClickException(f"{error}.") from None
    if as_json:
        click.echo(json.dumps({"logKey": signer.secret_key(), "verifierKey": signer.verifier_key}))
    else:
        click.echo(signer.secret_key())
        click.echo(f"verifier key, to publish: {signer.verifier_key}", err=True)


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--all", "whole", is_flag=True, help="The whole log, of all workspaces, on the operator's own machine.")
@click.option(
    "--since", multiple=True, metavar="FILE|SIZE", help="Prove growth from a checkpoint, bundle, proof, or size."
)
@click.option("--readable", is_flag=True, help="Add personal data as it is readable now: no part of the proof.")
@_state_option
@options
def export(
    out: Path, whole: bool, since: tuple[str, ...], readable: bool, state: Path | None, as_json: bool, **where: Any
) -> None:
    """Write a bundle to the folder OUT: every record of a workspace, and what proves that it is what was signed.

    Run it again to go on with one that broke off.
    """
    if whole and readable:
        raise click.UsageError("--readable is for the bundle of a workspace, whose key may read it: leave out --all.")
    output = Output(as_json=as_json)
    with _bar(output, "records") as progress, _complaining():
        if whole:
            manifest = asyncio.run(export_whole(find_system(where["data"]).worker, out, progress))
        else:
            manifest = _exported(out, since, readable, state or state_folder(), progress, where)
    if as_json:
        output.data({"out": str(out), "size": manifest.size, "records": manifest.records})
    else:
        output.line(f"{manifest.records:,} records in {out}, by a checkpoint of {manifest.size:,}.")
        output.note(f"Anybody can check it, anywhere: keyfold audit verify {out}")


def _exported(
    out: Path, since: tuple[str, ...], readable: bool, state: Path, progress: Progress, where: dict[str, Any]
) -> Manifest:
    sizes = {size_in(each) for each in since}
    with (
        connected(where["data"], where["url"], where["key_file"], where["workspace"]) as client,
        Server(client.url, client.key) as server,
    ):
        seen = Memory(state, parsed_checkpoint(server.checkpoint()).origin).size
        _await_newest(server)
        size = parsed_checkpoint(server.checkpoint()).size
        if sizes and max(sizes) > size:
            raise LackingError(f"--since {max(sizes)} lies ahead: the log was signed with {size} records by now.")
        try:
            return export_workspace(server, out, {*sizes, seen}, readable=readable, progress=progress)
        except KeyboardInterrupt:
            raise click.ClickException("Stopped. Run it again to go on; there is no bundle yet.") from None


def _await_newest(server: Server) -> None:
    """Returns when what has happened by now is signed, or a while later: then the bundle is of what is."""
    newest = server.get("/api/v1/audit/events?limit=1")["data"]
    deadline = time.monotonic() + PATIENCE
    while newest and parsed_checkpoint(server.checkpoint()).size < newest[0]["position"]:
        if time.monotonic() > deadline:
            return
        time.sleep(0.25)


@click.command()
@click.argument("target", metavar="[PATH|URL]", required=False)
@click.option("--vkey", "vkeys", multiple=True, help="A verifier key of the log, which you have from its operator.")
@click.option("--witness", "witnesses", multiple=True, metavar="VKEY", help="A verifier key of a witness.")
@click.option("--quorum", type=click.IntRange(0), default=0, help="How many witnesses must have cosigned.")
@click.option("--again", is_flag=True, help="Of a live log, read records that were read before as well.")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A file with the key to read a live log's records with; without it KEYFOLD_KEY counts.",
)
@_state_option
@data_option
@click.option("--json", "as_json", is_flag=True, help="One line of JSON.")
def verify(
    target: str | None,
    vkeys: tuple[str, ...],
    witnesses: tuple[str, ...],
    quorum: int,
    again: bool,
    key_file: Path | None,
    state: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Verify a bundle's folder, a proof's file, or the live log at an address. Without any of them, on the operator's
    machine, the whole log in its database.

    Exits with 1 for what isn't what was signed, and names the first position; with 2 when nothing can be said.
    """
    output, asked = Output(as_json=as_json), Asked(vkeys, witnesses, quorum)
    with _bar(output, "verifying") as progress:

        def work() -> Verdict:
            try:
                if target is None:
                    return _of_database(data, asked, state or state_folder(), progress)
                key = given_key(key_file) if target.startswith(("http://", "https://")) else None
                return verified(target, asked, state or state_folder(), key=key, again=again, progress=progress)
            except click.ClickException as error:  # no key, or nothing runs: which says nothing of the log
                raise LackingError(error.message) from None

        verdict = judged(work)
    click.echo(json.dumps(verdict.facts) if as_json else verdict.text)
    raise SystemExit(verdict.status)


def _of_database(data: Path | None, asked: Asked, state: Path, progress: Progress) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="keyfold-audit-") as folder:
        bundle, settings = Path(folder) / "log", find_system(data).worker
        size = asyncio.run(export_whole(settings, bundle, progress)).size
        verdict = verified(str(bundle), asked, state, progress=progress)
        if verdict.status != ALTERED:
            asyncio.run(demand_tail(settings, size))
        return verdict


@click.command()
@click.argument("what", metavar="POSITION|EVENT_ID")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@remote
def prove(client: Client, output: Output, what: str, out: Path) -> None:
    """Write a file that proves one record by itself: it holds the record, its place, and the signed checkpoint."""
    if not (is_id("evt", what) or (what.isascii() and what.isdecimal() and 0 < len(what) < 19 and int(what))):
        raise click.UsageError("Name a position of the log, or an event: evt_…")
    deadline = time.monotonic() + PATIENCE

    def wait() -> bool:
        time.sleep(0.5)
        return time.monotonic() < deadline

    with _complaining(), Server(client.url, client.key) as server:
        position = int(what) if what.isdecimal() else server.position_of(what)
        proof = prove_record(server, position, wait)
    out.write_bytes(proof)
    if output.as_json:
        output.data({"file": str(out), "position": position, "bytes": len(proof)})
    else:
        output.line(f"{out}: position {position:,}, {len(proof):,} bytes.")
        output.note(f"Anybody can check it, anywhere: keyfold audit verify {out} --vkey …")


@contextmanager
def _complaining() -> Iterator[None]:
    try:
        yield
    except (AlteredError, LackingError) as error:
        raise said(error) from None


@contextmanager
def _bar(output: Output, what: str) -> Iterator[Callable[[int, int], None]]:
    with output.progress() as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)

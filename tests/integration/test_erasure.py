"""Somebody is erased from a running system, and is looked for everywhere: tables, streams, files, logs, answers."""

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import msgspec
import pytest
import pytest_asyncio
from click.testing import CliRunner

from conftest import Database, environment, free_port, make_settings, new_database, settings_of_worker
from examples.system import System, running
from keyfold.app.ports import DataKey, StreamMovedError, Write
from keyfold.app.sealing import SealBrokenError, Sealing
from keyfold.app.work import Cause, Office, Work
from keyfold.bus.subjects import LIFECYCLE
from keyfold.cli.embedded import Nats
from keyfold.cli.embedded import Postgres as Cluster
from keyfold.cli.main import main
from keyfold.domain.aggregates import ATTEMPT, PARTNER
from keyfold.domain.attempt import AccessRefused
from keyfold.domain.partner import ErasePartner, decide
from keyfold.domain.record import Actor
from keyfold.settings import Secret, Settings
from keyfold.store.data_keys import Opener
from keyfold.store.journal import PostgresJournal
from keyfold.store.projections import PROJECTIONS
from keyfold.store.projections.rebuild import rebuild
from keyfold.web.health import api_readiness
from keyfold.worker.worker import Worker
from keyfold_client.audit.exporting import export_workspace
from keyfold_client.audit.live import Server
from keyfold_client.audit.trust import parsed_checkpoint

from .support import (
    CAUSE,
    LIMIT,
    OPENER,
    SEALING,
    Life,
    assert_projections_equal_a_rebuild,
    connected,
    entry,
    logged_in,
    new_id,
    projected,
    rows,
    value,
    wait_until,
    working,
)

ADDRESS = "203.0.113.77"
CANARIES = ("Zaphod", "Beeblebrox", "z.b@heart-of-gold.test", "Trillian", "Marvin", ADDRESS)
INVITATION = {
    "appName": "Zaphod",
    "appDescription": "Beeblebrox's",
    "metadata": {"mail": "z.b@heart-of-gold.test", "none": None},
}


class Place(NamedTuple):
    """A system of processes, and where all of it keeps what it has."""

    system: System
    database: Database
    nats: Nats
    folder: Path
    machine: dict[str, str]

    def client(self, key: str = "", address: str = ADDRESS) -> httpx.AsyncClient:
        headers = {"X-Forwarded-For": address} | ({"Authorization": f"Bearer {key}"} if key else {})
        return httpx.AsyncClient(base_url=self.system.url, headers=headers, timeout=30)

    async def erase(self, *arguments: str, status: int = 0) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, ["erase", *arguments], env=self.machine)
        assert result.exit_code == status, result.output
        return result.output

    async def found_in_tables(self) -> set[str]:
        """The canaries that any row of any table has, as text or as bytes."""
        everything = ""
        async with connected(self.database.admin_url) as connection:
            tables = await connection.fetch(
                "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables "
                "WHERE schemaname !~ '^(pg_|information_schema)'"
            )
            assert len(tables) > 20
            for (name,) in tables:
                everything += "\n".join(row for (row,) in await connection.fetch(f"SELECT t::text FROM {name} t"))
        return {each for each in CANARIES if each in everything or each.encode().hex() in everything}

    async def found_in_files_of_projections(self) -> set[str]:
        """The canaries that are on any page of the projections' tables and indexes, be the row dead or not."""
        async with connected(self.database.admin_url) as connection:
            await connection.execute("CHECKPOINT")
            pages = await connection.fetch(
                "SELECT pg_read_binary_file(pg_relation_filepath(oid)) FROM pg_class "
                "WHERE relnamespace = 'projections'::regnamespace AND relkind IN ('r', 'i', 't')"
            )
        everything = b"".join(page for (page,) in pages)
        assert len(everything) > 100_000
        return {each for each in CANARIES if each.encode() in everything}

    async def found_in_nats(self) -> set[str]:
        """Likewise every message of the stream that has lifecycle events."""
        async with logged_in(self.nats, "worker") as client:
            js, everything, last = client.jetstream(), "", 0
            head = await value(self.database.admin_url, "SELECT max(position) FROM keyfold.log")
            async with asyncio.timeout(15):
                while last < head:  # what reading itself has written down is on its way
                    last = (await js.stream_info(LIFECYCLE)).state.last_seq
            for sequence in range(1, last + 1):
                message = await js.get_msg(LIFECYCLE, seq=sequence)
                everything += f"{message.subject} {message.headers} {(message.data or b'').decode()}"
        return {each for each in CANARIES if each in everything}

    def found_in_files(self) -> set[str]:
        """Likewise of the logs of the processes and the files of NATS."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {"api.log", "worker.log"}
        assert any(path.suffix == ".blk" for path in files)
        everything = b"".join(path.read_bytes() for path in files)
        return {each for each in CANARIES if each.encode() in everything}

    async def log(self) -> list[tuple[Any, ...]]:
        return await rows(self.database.admin_url, "SELECT position, record::text FROM keyfold.log ORDER BY position")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(postgres_server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("erasure")
    database, nats = await new_database(postgres_server), Nats(folder / "nats", free_port(), durable=False)
    await nats.start()
    try:
        settings = msgspec.structs.replace(
            make_settings(database, nats), trusted_proxies="127.0.0.1", log_level="debug"
        )
        worker = msgspec.structs.replace(settings_of_worker(settings, nats), checkpoint_seconds=1)
        async with running(settings, worker, folder) as system:
            machine = environment(msgspec.structs.replace(settings, public_url=system.url))
            yield Place(system, database, nats, folder, machine)
    finally:
        await nats.stop()


async def live(place: Place) -> tuple[str, dict[str, Any]]:
    """A partner's id and its keys, after a life that leaves traces wherever it can."""
    system, owner = place.system, place.system.account_key
    async with place.client(system.integration_key, "198.51.100.1") as inviting:
        invited = (await inviting.post("/api/v1/external/partner", json=INVITATION)).json()["data"]
    token = invited["url"].partition("#")[2]
    async with place.client() as visitor:
        await visitor.post("/api/v1/onboarding/preview", json={"token": token})
        headers = {"Idempotency-Key": "again"}
        redeemed = await visitor.post("/api/v1/onboarding/redeem", json={"token": token}, headers=headers)
        assert redeemed.status_code == 201, redeemed.text
        again = await visitor.post("/api/v1/onboarding/redeem", json={"token": token}, headers=headers)
        assert again.json() == redeemed.json()
    keys = {key["environment"]: key for key in redeemed.json()["data"]["keys"]}
    assert keys["dev"]["name"] == "Zaphod dev"
    async with place.client(keys["dev"]["secret"]) as app:
        assert (await app.get("/api/v1/keys/self")).status_code == 200
        delegated = await app.post("/api/v1/keys/self/delegate", json={"name": "Trillian", "purpose": "for Marvin"})
        assert delegated.status_code == 201, delegated.text
    async with place.client(owner, "198.51.100.2") as office:
        await office.post(f"/api/v1/keys/{keys['stage']['id']}/suspend", json={"reason": "look into it"})
    async with place.client(keys["stage"]["secret"]) as app:  # refused, and written down
        assert (await app.get("/api/v1/keys/self")).status_code == 401
    for table in ("key_addresses WHERE address = '203.0.113.77'", "log WHERE record->>'type' = 'access.refused.v1'"):
        query = f"SELECT count(*) FROM keyfold.{table}"
        await wait_until(partial(value, place.database.admin_url, query), 15)
    await projected(place.database.admin_url)
    return invited["id"], keys


async def shown(place: Place, partner_id: str, keys: dict[str, Any], at: int) -> str:
    """All that the running API has to say about the partner."""
    paths = [
        f"/api/v1/partners/{partner_id}",
        "/api/v1/partners",
        "/api/v1/links",
        *[f"/api/v1/keys/{key['id']}" for key in keys.values()],
        f"/api/v1/keys?partnerId={partner_id}",
        f"/api/v1/audit/events?partnerId={partner_id}&limit=200",
        "/api/v1/audit/events?limit=200",
        f"/api/v1/audit/events?address={ADDRESS}",
        "/api/v1/audit/export?format=ndjson",
        "/api/v1/audit/export?format=records",
        "/api/v1/audit/export?format=ocsf",
        "/api/v1/audit/export?format=ecs",
        "/api/v1/lifecycle/stream?after=0&live=false",
        f"/api/v1/keys?partnerId={partner_id}&asOf={at}",
        f"/api/v1/partners/{partner_id}?asOf={at}",
        "/api/v1/audit/changes?from=0&limit=200",
        "/api/v1/audit/holders?action=send",
        f"/api/v1/audit/holders?action=send&asOf={at}",
    ]
    said = ""
    async with place.client(place.system.account_key, "198.51.100.3") as office:
        for path in paths:
            answer = await office.get(path)
            assert answer.status_code == 200, (path, answer.text)
            said += f"{path.partition('?')[0]}\n{answer.text}\n"
    return said + await asyncio.to_thread(bundled, place, at)


def bundled(place: Place, at: int) -> str:
    """What a bundle of the workspace has to say, up to a position at least, with what is readable."""
    deadline = time.monotonic() + LIMIT
    with tempfile.TemporaryDirectory() as folder, Server(place.system.url, place.system.account_key) as server:
        while parsed_checkpoint(server.checkpoint()).size < at:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        export_workspace(server, Path(folder) / "out", readable=True, progress=lambda done, of: None)
        return "".join(f"bundle's {each.name}\n{each.read_text()}\n" for each in (Path(folder) / "out").iterdir())


@pytest.mark.asyncio(loop_scope="module")
async def test_of_a_partner_that_was_erased_nothing_is_left_anywhere(place: Place) -> None:
    partner_id, keys = await live(place)
    url = place.database.admin_url

    # sealed in the log and in NATS from the beginning, while everybody who may sees it
    assert await place.found_in_nats() == set()
    assert place.found_in_files() == set()
    log = await place.log()
    assert [each for each in CANARIES if each in str(log)] == []
    assert await place.found_in_tables() == {*CANARIES}
    before = await shown(place, partner_id, keys, len(log))
    assert {each for each in CANARIES if each in before} == {*CANARIES}
    assert "Zaphod" in before.partition("bundle's readable.ndjson")[2]

    # a dry run says what would go, and changes nothing
    said = await place.erase("partner", partner_id)
    for expected in (
        "1 x partner.invited.v1 data.appName",
        "1 x partner.invited.v1 data.metadata",
        "4 x key.issued.v1 data.name",
        "1 x access.refused.v1 data.address",
        f"addresses: {ADDRESS}",
        "4 keys are revoked",
        "Nothing was done",
    ):
        assert expected in said
    assert await place.found_in_tables() == {*CANARIES}
    log = await place.log()
    assert "partner.offboarded" not in str(log)

    said = await place.erase("partner", partner_id, "--yes", "--reason", "asked for it")
    assert f"{partner_id}: gone" in said
    await projected(url)
    assert await place.found_in_tables() == set()
    assert await place.found_in_files_of_projections() == set()
    assert await place.found_in_nats() == set()
    assert place.found_in_files() == set()
    after = await shown(place, partner_id, keys, len(log))
    assert [each for each in CANARIES if each in after] == []
    assert (await place.log())[: len(log)] == log, "every record is what it was"
    await assert_projections_equal_a_rebuild(place.database.worker_url)

    # the key is refused, and where it comes from isn't kept any more; nor is its answer given again
    async with place.client(keys["dev"]["secret"]) as app:
        assert (await app.get("/api/v1/keys/self")).status_code == 401
        headers = {"Idempotency-Key": "again"}
        again = await app.post("/api/v1/onboarding/redeem", json={"token": "kfl_no"}, headers=headers)
        assert "Zaphod" not in again.text
    refused = "SELECT count(*) FROM keyfold.log WHERE record->>'type' = 'access.refused.v1'"
    await wait_until(lambda: _is(value(url, refused), 2), 15)
    await projected(url)
    assert await place.found_in_tables() == set()

    # again: nothing more, and no harm
    log = await place.log()
    assert "has been erased already" in await place.erase("partner", partner_id, "--yes")
    assert await place.log() == log
    assert await value(url, "SELECT count(*) FROM keyfold.data_keys WHERE subject = $1", partner_id) == 0


async def _is(value: Any, expected: object) -> bool:
    return bool(await value == expected)


@pytest.mark.asyncio(loop_scope="module")
async def test_of_an_operator_that_was_erased_nothing_is_left_but_what_it_did(place: Place) -> None:
    url = place.database.admin_url
    async with place.client(place.system.account_key, "198.51.100.1") as office:
        wanted = {"kind": "account", "name": "Zaphod Beeblebrox", "purpose": "Marvin", "role": "owner"}
        made = (await office.post("/api/v1/keys", json=wanted)).json()["data"]
    async with place.client(made["secret"]) as zaphod:
        for name in ("one", "two"):
            assert (await zaphod.post("/api/v1/integrations", json={"name": name})).status_code == 201
        successor = await zaphod.post(f"/api/v1/keys/{made['id']}/rotate", json={"overlapSeconds": 3600})
        assert successor.status_code == 201, successor.text
    new = successor.json()["data"]
    await projected(url)
    assert await place.found_in_nats() == set()
    assert {"Zaphod", ADDRESS} <= await place.found_in_tables()
    log = await place.log()

    said = await place.erase("operator", made["id"])
    assert f"addresses: {ADDRESS}" in said
    assert "2 keys are revoked" in said
    view = json.loads((await place.erase("operator", new["id"], "--yes", "--json")).splitlines()[0])
    assert view["erased"] == view["revokedKeys"] == [new["id"], made["id"]]
    await projected(url)
    assert await place.found_in_tables() == set()
    assert await place.found_in_nats() == set()
    assert place.found_in_files() == set()
    assert (await place.log())[: len(log)] == log
    async with place.client(place.system.account_key, "198.51.100.1") as office:
        done = (await office.get(f"/api/v1/audit/events?actorId={made['id']}")).json()["data"]
        assert {each["type"] for each in done} >= {"integration.created.v1", "key.rotated.v1"}
        assert {each["actor"].get("address") for each in done} == {None}
        mine = (await office.get("/api/v1/audit/events?type=key.issued.v1&order=asc")).json()["data"]
        assert mine[0]["data"]["name"] == "First owner", "of all others everything is there"
    await assert_projections_equal_a_rebuild(place.database.worker_url)

    # the last owner stays, and a partner's key goes with its partner
    first = mine[0]["data"]["keyId"]
    assert "owner" in await place.erase("operator", first, "--yes", status=1)
    assert "There is no key" in await place.erase("operator", "key_no", status=1)


async def test_a_data_key_is_deleted_by_nobody_and_nothing_but_the_fact(life: Life, database: Database) -> None:
    held = "SELECT array_agg(subject ORDER BY subject) FROM keyfold.data_keys"
    before = await value(database.admin_url, held)
    assert len(before) == 2, "of the two keys that a workspace begins with"
    for url in (database.api_url, database.worker_url):
        for forbidden in (
            "DELETE FROM keyfold.data_keys",
            "UPDATE keyfold.data_keys SET pepper = 2",
            "INSERT INTO keyfold.data_keys VALUES ('x', 1, '')",
            "DELETE FROM keyfold.erased",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await value(url, forbidden)
    lie = Write(entries=[entry("key_x", 1)], erased=["key_x", *before])
    await life.services.journal.append(lie)
    assert await value(database.admin_url, held) == before
    assert await value(database.admin_url, "SELECT count(*) FROM keyfold.erased") == 0


async def test_a_refused_command_leaves_no_data_key_and_deletes_none(life: Life, database: Database) -> None:
    services, held = life.services, "SELECT count(*) FROM keyfold.data_keys"
    await life.onboard()
    before = await value(database.admin_url, held)
    work = Work(services.office, CAUSE)
    state = await work.load(PARTNER, life.partners[0])
    work.append(PARTNER, state.id, decide(state, ErasePartner("late")))
    late = await work.written(msgspec.Struct())
    await life.offboard(state.id)
    new = services.sealing.new_key("prt_never")
    with pytest.raises(StreamMovedError):
        await services.journal.append(msgspec.structs.replace(late, data_keys=[new]))
    assert await value(database.admin_url, held) == before


async def test_what_is_sealed_by_a_process_that_has_not_heard_yet_is_read_by_nobody(
    life: Life, worker: Worker, database: Database
) -> None:
    """The data key that it remembers is as good as any other: nobody else has it."""
    services = life.services
    await life.onboard()
    [partner_id] = life.partners
    stale = await services.journal.data_keys([partner_id])
    await services.erasures.partner(life.manager, partner_id, "asked for it")
    assert await services.journal.data_keys([partner_id]) == {}, "forgotten here at once"

    class Deaf(PostgresJournal):
        async def data_keys(self, subjects: Any) -> dict[str, DataKey]:
            return {subject: stale[subject] for subject in subjects if subject in stale}

    journal = Deaf(services.postgres, SEALING)
    office = Office(
        journal=journal, vault=services.vault, sealing=SEALING, clock=services.clock, entropy=services.entropy
    )
    actor = Actor("portal", new_id("pse"), ADDRESS)
    work = Work(office, Cause(actor, "req_late", subject=partner_id))
    attempt_id = work.new_id("att")
    refused = AccessRefused(
        workspace_id=life.manager.workspace_id, attempt_id=attempt_id, key_id=life.keys[0], partner_id=partner_id,
        code="revoked", road="http", address=ADDRESS, count=1, since=work.now, until=work.now,
    )  # fmt: skip
    work.append(ATTEMPT, attempt_id, [refused])
    await journal.append(await work.written(msgspec.Struct()))
    await journal.close()
    await projected(database.admin_url)
    seen = "SELECT count(*) FROM projections.audit WHERE address IS NOT NULL AND partner_id = $1"
    boxes = "SELECT json_array_length(record->'sealed') FROM keyfold.log WHERE stream = $1"
    assert await value(database.admin_url, boxes, attempt_id) == 1
    assert await value(database.admin_url, seen, partner_id) == 0
    await assert_projections_equal_a_rebuild(database.worker_url)


async def test_with_another_pepper_nothing_is_shown_half_and_nothing_taken_for_erased(
    life: Life, settings: Settings, worker_settings: Settings, database: Database
) -> None:
    await life.onboard()
    other = {1: Secret(b"x" * 32)}
    sealing = Sealing(other, os.urandom)
    with pytest.raises(SealBrokenError, match="KEYFOLD_PEPPERS has another pepper 1"):
        await rebuild(database.worker_url, PROJECTIONS["audit"], Opener(sealing), lambda *_: None)
    journal = PostgresJournal(life.services.postgres, sealing)
    with pytest.raises(SealBrokenError, match=f"The data key of {life.partners[0]} doesn't open"):
        await journal.load(PARTNER, life.partners[0])
    await journal.close()
    for peppers, is_well in ((sealing, False), (life.services.sealing, True)):
        check = (await api_readiness(life.services.postgres, life.services.bus, peppers)).checks["peppers"]
        assert (check.ok, "KEYFOLD_PEPPERS has another pepper 1" in check.detail) == (is_well, not is_well)

    worker = Worker(msgspec.structs.replace(worker_settings, peppers=other))
    async with working(worker):
        loops = {each.name: each for each in worker.loops}
        await wait_until(lambda: loops["projection current"].status == "halted")
        assert "KEYFOLD_PEPPERS has another pepper 1" in loops["projection current"].detail
    healthy = Worker(worker_settings)
    async with working(healthy):
        await projected(database.admin_url)
    await assert_projections_equal_a_rebuild(database.worker_url)
    names = await rows(database.admin_url, "SELECT state->>'appName' FROM projections.partners")
    assert names == [("App 1 ☂",)]


async def test_a_rebuild_that_somebody_is_erased_under_comes_to_the_same_rows(
    life: Life, worker: Worker, database: Database
) -> None:
    """Erased when some batches have been opened and others haven't."""
    for _ in range(4):
        await life.onboard()
    await projected(database.admin_url)
    loop = asyncio.get_running_loop()
    done: list[asyncio.Task[Any]] = []

    def progress(position: int, of: int) -> None:
        if not done:
            erasing = life.services.erasures.partner(life.manager, life.partners[0], "asked for it")
            done.append(loop.create_task(erasing))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keyfold.store.projections.rebuild.BATCH", 3)
        for name in PROJECTIONS:
            await rebuild(database.worker_url, PROJECTIONS[name], OPENER, progress)
    await asyncio.gather(*done)
    await projected(database.admin_url)
    await assert_projections_equal_a_rebuild(database.worker_url)
    found = await rows(database.admin_url, "SELECT state->>'appName' FROM projections.partners ORDER BY id")
    assert [name for (name,) in found] == [None, "App 2 ☂", "App 3 ☂", "App 4 ☂"]
    assert await value(database.admin_url, "SELECT count(*) FROM projections.versions WHERE name LIKE 'App 1%'") == 0

"""Bundles and live logs against an auditor: what is as it was signed passes, and whatever isn't is named."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import keyfold_client
from keyfold.audit.signing import Signer
from keyfold_client.audit import records
from keyfold_client.audit.exporting import prove_record, size_in
from keyfold_client.audit.live import Server
from keyfold_client.audit.manifests import CHECKPOINT, CONSISTENCY, LEAVES, MANIFEST, PROOFS, RECORDS
from keyfold_client.audit.memory import Memory
from keyfold_client.audit.merkle import leaf_hash, leaf_hashes
from keyfold_client.audit.records import Line, Numbers, whole_log
from keyfold_client.audit.trust import AlteredError, Asked, LackingError, Verified
from keyfold_client.audit.verdicts import Verdict, verify
from keyfold_client.audit.watching import first_difference, verify_live

from .cosigner import Cosigner
from .fake_log import FakeLog

Tamper = Callable[[list[bytes]], list[bytes]]


@pytest.fixture
def log() -> FakeLog:
    """ws_a has positions 1 to 3, 7, 9 to 309 and numbers 1 to 305; ws_b the others."""
    log = FakeLog().append("ws_a", 3).append("ws_b", 3).append("ws_a").append("ws_b").append("ws_a", 301)
    return log.append("ws_b", 2).sign()


class Auditor:
    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"

    def sees(self, target: Path, status: int = 0, **asked: Any) -> Verdict:
        verdict = verify(str(target), Asked(**asked), self.state)
        assert verdict.status == status, verdict.text
        return verdict

    def names(self, target: Path, position: int | None) -> str:
        """That it is altered, from this position on; gives why."""
        verdict = self.sees(target, 1)
        assert verdict.facts["position"] == position, verdict.text
        return str(verdict.facts["why"])

    def looks(self, server: Server, **more: Any) -> Verified:
        with server:
            return verify_live(server, Asked(), self.remember, patience=0, **more)

    def finds(self, server: Server, position: int | None, **more: Any) -> str:
        with pytest.raises(AlteredError) as raised:
            self.looks(server, **more)
        assert raised.value.position == position, raised.value
        return str(raised.value)

    def remember(self, origin: str) -> Memory:
        return Memory(self.state, origin)


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def change(bundle: Path, tamper: Tamper, *names: str) -> Path:
    for name in names or (RECORDS,):
        file = bundle / name
        file.write_bytes(b"".join(tamper(file.read_bytes().splitlines(keepends=True))))
    return bundle


def edit_manifest(bundle: Path, **changes: object) -> None:
    file = bundle / MANIFEST
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def without(at: int) -> Tamper:
    return lambda lines: lines[:at] + lines[at + 1 :]


def swapped(at: int) -> Tamper:
    """Two records trade places, with the positions where they were."""

    def swap(lines: list[bytes]) -> list[bytes]:
        one, other = (Line.parse(lines[each]) for each in (at, at + 1))
        assert one is not None
        assert other is not None
        new = [bytes(Line(one.position, other.record)), bytes(Line(other.position, one.record))]
        return lines[:at] + new + lines[at + 2 :]

    return swap


def flipped(at: int) -> Tamper:
    return lambda lines: [line.replace(b"done", b"dome") if n == at else line for n, line in enumerate(lines)]


def renumbered(lines: list[bytes]) -> list[bytes]:
    """Positions 1, 2, 3 …, whatever they were."""
    parsed = [Line.parse(line) for line in lines]
    return [bytes(Line(position, line.record)) for position, line in enumerate(parsed, 1) if line is not None]


def test_a_workspaces_bundle_verifies_and_its_key_is_remembered(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    bundle = log.export(tmp_path / "out")
    first = auditor.sees(bundle)
    assert "FIRST USE" in first.text
    assert log.vkey in first.text
    assert {"records": 305, "workspaceId": "ws_a", "size": 311, "firstUse": True}.items() <= first.facts.items()
    again = auditor.sees(bundle)
    assert (again.facts["firstUse"], again.facts["since"]) == (False, 311)
    assert auditor.sees(bundle, vkeys=(log.vkey,)).facts["signedBy"] == [log.vkey]


def test_a_whole_logs_bundle_verifies_and_goes_on_from_what_was_seen(
    log: FakeLog, auditor: Auditor, tmp_path: Path
) -> None:
    assert auditor.sees(log.export_whole(tmp_path / "1")).facts["records"] == 311
    log.append("ws_b", 700).sign()
    grown = auditor.sees(log.export_whole(tmp_path / "2"))
    assert (grown.facts["since"], grown.facts["records"]) == (311, 1011)
    memory = auditor.remember("log.test/keyfold")
    assert memory.hashes(0, 2000) == b"".join(log.leaves)


@pytest.mark.parametrize(
    ("tamper", "position"),
    [
        (flipped(0), 1),
        (flipped(200), 205),
        (swapped(1), 2),
        (lambda lines: [*lines[:2], b'{"position":3,"record":{}}\n', *lines[3:]], 3),
        (lambda lines: [*lines[:2], lines[2].replace(b'":3,', b'":03,', 1), *lines[3:]], 3),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 309),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], 309),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (without(0), 1),
        (without(3), 7),
        (without(304), 309),
        (lambda lines: [*lines[:3], bytes(Line(5, b'{"number":4,"data":{"workspaceId":"ws_a"}}')), *lines[3:]], 5),
    ],
)
def test_whatever_is_done_to_a_workspaces_records_the_first_bad_position_is_named(
    log: FakeLog, auditor: Auditor, tmp_path: Path, tamper: Tamper, position: int
) -> None:
    auditor.names(change(log.export(tmp_path / "out"), tamper), position)


@pytest.mark.parametrize(("at", "position"), [(0, 1), (3, 4), (150, 155), (304, None)])
def test_a_record_left_out_with_its_proof_is_missed_by_its_number(
    log: FakeLog, auditor: Auditor, tmp_path: Path, at: int, position: int | None
) -> None:
    """Where the last one is left out nothing but the manifest can tell: see the handbook."""
    bundle = change(log.export(tmp_path / "out"), without(at), RECORDS, PROOFS)
    why = auditor.names(bundle, position)
    assert f"Number {at + 1} of the workspace is missing" in why or position is None


def test_each_bad_record_is_counted(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    bundle = change(change(log.export(tmp_path / "out"), flipped(8)), flipped(100))
    assert auditor.sees(bundle, 1).facts["bad"] == 2


@pytest.mark.parametrize(
    ("number", "workspace", "why"),
    [(3, "ws_a", "was given twice"), (7, "ws_a", "4 to 6"), (4, "ws_b", "another workspace")],
)
def test_numbers_that_were_signed_wrong_are_found(
    auditor: Auditor, tmp_path: Path, number: int, workspace: str, why: str
) -> None:
    """By a log that forges: the proofs are right."""
    log = FakeLog().append("ws_a", 3)
    log.write(workspace, number)
    log.rows[3] = ("ws_a", log.rows[3][1])
    assert why in auditor.names(log.sign().export(tmp_path / "out"), 4)


@pytest.mark.parametrize(("number", "why"), [(3, "was given twice"), (1_000_004, "4 to 1000003"), (0, "neither its")])
def test_numbers_that_were_signed_wrong_are_found_in_a_whole_log_too(
    auditor: Auditor, tmp_path: Path, number: int, why: str
) -> None:
    """Where its workspace's own auditor would find them."""
    log = FakeLog().append("ws_a", 2).append("ws_b", 9).append("ws_a")
    log.write("ws_a", number)
    log.append("ws_b").write("ws_a", number + 1)
    whole = log.sign().export_whole(tmp_path / "whole")
    assert why in auditor.names(whole, 13)
    assert auditor.remember("log.test/keyfold").size == 0
    auditor.names(log.export(tmp_path / "part"), 13)
    change(whole, flipped(14))
    assert "isn't the one" in auditor.names(whole, 15), "what isn't what was signed comes first"


def test_what_a_record_says_inside_of_a_text_is_not_where_it_belongs(auditor: Auditor, tmp_path: Path) -> None:
    log = FakeLog()
    for number, said in enumerate(('"data":{"workspaceId":"ws_b"', '\\"data":{"workspaceId":"ws_b"', "ws_b"), 1):
        log.write("ws_a", number, said, note=said)
    log.sign()
    auditor.sees(log.export_whole(tmp_path / "whole"))
    auditor.sees(log.export(tmp_path / "part"))


def test_a_bundle_says_up_to_where_none_is_missing(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    """A tail that was cut off, and the manifest with it, can't be told from one that isn't there yet."""
    bundle = log.export(tmp_path / "out")
    told = auditor.sees(bundle)
    assert "none is missing up to number 305, position 309" in told.text
    assert told.facts["last"] == 309
    bundle = change(bundle, lambda lines: lines[:18], RECORDS, PROOFS)
    edit_manifest(bundle, records=18)
    cut = Auditor(tmp_path / "new").sees(bundle)
    assert "none is missing up to number 18, position 22: what came later can't be told" in cut.text
    assert cut.facts["last"] == 22
    first = auditor.looks(log.append("ws_a", 2).sign().server())
    assert (first.known, first.records, first.last) == (0, 307, 313)


def test_records_that_are_numbered_against_the_logs_order_are_found(auditor: Auditor, tmp_path: Path) -> None:
    log = FakeLog()
    for number in (2, 1):
        log.write("ws_a", number)
    bundle = change(log.sign().export(tmp_path / "out"), lambda lines: lines[::-1], RECORDS, PROOFS)
    assert "behind one of a later position" in auditor.names(bundle, 1)


@pytest.mark.parametrize(
    ("tamper", "position"),
    [
        (flipped(0), 1),
        (flipped(310), 311),
        (swapped(100), 101),
        (without(4), 5),
        (lambda lines: renumbered(without(4)(lines)), 5),
        (without(310), 311),
        (lambda lines: [*lines, bytes(Line(312, b'{"number":306}'))], 312),
        (lambda lines: renumbered([*lines[:20], lines[3], *lines[20:]]), 21),
        (lambda lines: [*lines[:20], lines[3], *lines[20:]], 21),
        (lambda lines: [*lines[:-1], lines[-1][:-1]], 311),
        (lambda lines: [*lines[:98], lines[98].replace(b'"position":', b'"position": '), *lines[99:]], 99),
        (lambda lines: flipped(5)(without(50)(lines)), 6),
        (lambda lines: [*lines[:4], lines[4][:-2] + b"]\n", *lines[5:]], 5),
    ],
)
def test_whatever_is_done_to_a_whole_log_the_first_bad_position_is_named(
    log: FakeLog, auditor: Auditor, tmp_path: Path, tamper: Tamper, position: int
) -> None:
    auditor.names(change(log.export_whole(tmp_path / "out"), tamper), position)
    assert auditor.remember("log.test/keyfold").size == 0, "what isn't verified isn't remembered"


def test_leaf_hashes_that_were_changed_too_name_nothing_wrongly(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    bundle = log.export_whole(tmp_path / "out")
    leaves = bundle / LEAVES
    good = leaves.read_bytes()
    leaves.write_bytes(good[:32] + bytes(32) + good[64:])
    assert LEAVES in auditor.names(bundle, 2)
    change(bundle, flipped(5))
    assert "aren't those that were signed" in auditor.names(bundle, None)
    leaves.write_bytes(good)
    auditor.names(bundle, 6)


def test_a_checkpoint_that_was_changed_or_signed_by_another_key(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    bundle = log.export(tmp_path / "out")
    good = (bundle / CHECKPOINT).read_bytes()
    (bundle / CHECKPOINT).write_bytes(good.replace(b"\n311\n", b"\n312\n"))
    assert "signature" in auditor.names(bundle, None)
    (bundle / CHECKPOINT).write_bytes(good)
    other = Signer("log.test/keyfold", b"7" * 32).verifier_key
    assert "--vkey" in auditor.sees(bundle, 2, vkeys=(other,)).text
    auditor.sees(bundle)
    (bundle / CHECKPOINT).write_bytes(FakeLog(seed=7).append("ws_a", 311).sign().note)
    edit_manifest(bundle, vkeys=[other])
    assert "no key that is known" in auditor.sees(bundle, 2).text, "the first key stays the one that is trusted"


def test_an_old_key_is_enough_while_it_signs_as_well(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    auditor.sees(log.export(tmp_path / "1"))
    log.signers.insert(0, Signer("log.test/keyfold", b"2" * 32))
    old = log.signers[1].verifier_key
    assert auditor.sees(log.sign().export(tmp_path / "2")).facts["signedBy"] == [old]
    del log.signers[1]
    log.append().sign()
    assert auditor.sees(log.export(tmp_path / "3", since=(311,)), 2).facts["verified"] is None
    told = auditor.sees(tmp_path / "3", vkeys=(log.vkey,))
    assert (told.facts["signedBy"], told.facts["since"]) == ([log.vkey], 311)
    auditor.sees(tmp_path / "3")


def test_of_stated_keys_no_remembered_one_takes_the_place(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    """Who made the bundle could have made the key that was taken at the first look."""
    bundle = log.export(tmp_path / "1")
    stated = Signer("log.test/keyfold", b"7" * 32)
    auditor.sees(bundle)
    told = auditor.sees(bundle, 2, vkeys=(stated.verifier_key,)).text
    assert "isn't signed by the key that you gave" in told
    assert log.vkey in told
    other = Signer("other.test/keyfold", b"7" * 32).verifier_key
    assert "isn't signed by the key" in auditor.sees(bundle, 2, vkeys=(other,)).text
    with log.server() as server, pytest.raises(LackingError, match="isn't signed by the key"):
        verify_live(server, Asked((stated.verifier_key,)), auditor.remember)
    first = log.vkey
    log.signers.insert(0, stated)
    auditor.sees(log.sign().export(tmp_path / "2"), vkeys=(stated.verifier_key,))
    assert auditor.remember("log.test/keyfold").vkeys == (stated.verifier_key,)
    auditor.sees(bundle, 2)
    assert auditor.sees(bundle, vkeys=(first, stated.verifier_key)).facts["signedBy"] == [first]


def test_witnesses_are_counted_and_shown(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    one, other = Cosigner("witness.test/1"), Cosigner("witness.test/2")
    bundle = log.sign(one).export(tmp_path / "out")
    both = (one.vkey, other.vkey)
    assert auditor.sees(bundle, witnesses=both, quorum=1).facts["cosignedBy"][0]["name"] == "witness.test/1"
    assert "1 known witnesses" in auditor.sees(bundle, 2, witnesses=both, quorum=2).text
    assert "add --witness" in auditor.sees(bundle, 2, quorum=1).text


def test_a_smaller_log_is_refused_and_the_first_lost_position_named(
    log: FakeLog, auditor: Auditor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, old_whole = log.export(tmp_path / "old"), log.export_whole(tmp_path / "old-whole")
    note = log.note
    log.append("ws_a", 9).sign()
    auditor.sees(log.export(tmp_path / "new"))
    for bundle in (old, old_whole):
        assert "older backup" in auditor.names(bundle, 312)
    newest, log.note = log.note, note
    auditor.finds(log.server(), 312)
    auditor.finds(log.server(None), 312)
    monkeypatch.setattr(time, "sleep", lambda seconds: setattr(log, "note", newest))
    with log.server() as server:
        verify_live(server, Asked(), auditor.remember)  # a cache was behind for a moment


@pytest.mark.parametrize("more", [0, 5])
def test_a_rewritten_log_signed_again_is_named_at_its_first_difference(log: FakeLog, tmp_path: Path, more: int) -> None:
    """A fork at the same size, or a longer history, each against what three auditors have kept."""
    auditors = [Auditor(tmp_path / name) for name in ("whole", "part", "live")]
    auditors[0].sees(log.export_whole(tmp_path / "whole-1"))
    auditors[1].sees(log.export(tmp_path / "part-1"))
    auditors[2].looks(log.server())
    forged = log.rows[199][1].replace(b"done", b"dome")
    log.append("ws_a", more).rewrite(200, forged)
    why = auditors[0].names(log.export_whole(tmp_path / "whole-2"), 200)
    assert ("forked" in why) == (more == 0)
    auditors[1].names(log.export(tmp_path / "part-2", since=(311,)), 200)
    auditors[2].finds(log.server(), 200)
    auditors[2].finds(log.server(None), 200)
    Auditor(tmp_path / "new").sees(tmp_path / "whole-2")  # whoever has seen nothing can't know


def test_a_rewrite_of_others_records_is_seen_by_a_workspace_too(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    auditor.sees(log.export(tmp_path / "1"))
    log.append().rewrite(5, b'{"number":2,"data":{"workspaceId":"ws_b"}}')
    assert "rewritten" in auditor.names(log.export(tmp_path / "2", since=(311,)), None)


def test_growth_is_proved_from_earlier_exports_and_what_is_asked_for_and_else_demanded(
    log: FakeLog, auditor: Auditor, tmp_path: Path
) -> None:
    auditor.sees(log.export(tmp_path / "1"))
    log.append("ws_a").sign()
    assert "--since 311" in auditor.sees(log.export(tmp_path / "2"), 2).text
    auditor.sees(log.export(tmp_path / "3", since=(311,)))
    log.append("ws_a", type_="audit.exported.v1", until=312).sign()
    auditor.sees(log.export(tmp_path / "4"))
    sizes = [json.loads(line)["size"] for line in (tmp_path / "4" / CONSISTENCY).read_text().splitlines()]
    assert sizes == [312]
    change(tmp_path / "4", lambda lines: [lines[0].replace(b'"size":312', b'"size":300')], CONSISTENCY)
    assert CONSISTENCY in auditor.names(tmp_path / "4", None)


def test_a_live_log_is_read_on_from_where_it_was_left(log: FakeLog, auditor: Auditor) -> None:
    first = auditor.looks(log.server())
    assert (first.records, first.first_use, first.workspace_id) == (305, True, "ws_a")
    log.append("ws_a", 2).append("ws_b", 2).sign()
    log.asked.clear()
    second = auditor.looks(log.server())
    assert (second.records, second.known, second.since) == (2, 305, 311)
    assert log.asked == ["/log/checkpoint", "/log/tile/0/001.p/59", "/api/v1/audit/export"]
    log.asked.clear()
    assert auditor.looks(log.server(None)).records == 0
    assert log.asked == ["/log/checkpoint"]
    assert auditor.looks(log.server(), again=True).records == 307


@pytest.mark.parametrize("position", [1, 200, 309])
def test_a_live_logs_changed_record_is_named(log: FakeLog, auditor: Auditor, position: int) -> None:
    auditor.looks(log.server())
    whose, text = log.rows[position - 1]
    log.rows[position - 1] = (whose, text.replace(b"done", b"dome"))
    auditor.finds(log.server(), position, again=True)
    Auditor(auditor.state.parent / "new").finds(log.server(), position)


def test_a_live_log_that_lost_records_or_gives_them_to_others(log: FakeLog, auditor: Auditor) -> None:
    log.rows[200 - 1] = ("ws_b", log.rows[200 - 1][1])
    assert "Number 196" in auditor.finds(log.server(), 200)
    log.rows[200 - 1] = ("ws_a", log.rows[200 - 1][1])
    last = log.rows.pop()
    assert "ends before" in auditor.finds(log.server(), 311)
    log.rows.append(last)
    auditor.looks(log.server())
    del log.rows[300:]
    assert "ends before" in auditor.finds(log.server(), 309)


def test_a_live_log_that_gives_a_record_beyond_what_it_signed(log: FakeLog, auditor: Auditor) -> None:
    log.rows[310] = ("ws_a", b'{"number":306,"data":{"workspaceId":"ws_a"}}')
    auditor.finds(log.server(), 311)
    log.beyond = bytes(Line(9_999_999_999_999_999_999, b"{}"))
    auditor.finds(log.server(), 311)


def test_tiles_that_arent_those_of_the_signed_root(log: FakeLog, auditor: Auditor) -> None:
    auditor.looks(log.server())
    log.append("ws_a", 3).sign()
    log.leaves[312] = leaf_hash(b"other")
    log.plant()
    auditor.finds(log.server(), None)


def test_first_difference_is_the_first() -> None:
    for size in (1, 2, 3, 8, 13):
        ours = {at: leaf_hash(b"%d" % at) for at in range(size)}
        for changed in range(size):
            theirs = {at: leaf_hash(b"x") if at in {changed, size - 1} else each for at, each in ours.items()}
            assert first_difference(size, nodes(ours), nodes(theirs)) == changed + 1
        assert first_difference(size, nodes(ours), nodes(ours)) is None


def nodes(leaves: dict[int, bytes]) -> Callable[[int, int], bytes]:
    def node(level: int, index: int) -> bytes:
        return leaf_hash(b"".join(leaves[at] for at in range(index << level, (index + 1) << level)))

    return node


def test_an_export_that_breaks_off_is_gone_on_with_and_leaves_nothing_half(
    log: FakeLog, auditor: Auditor, tmp_path: Path
) -> None:
    log.breaks_after = 5_000
    with pytest.raises(LackingError, match="broke off"):
        log.export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    log.append("ws_a", 4).sign()
    assert auditor.sees(log.export(tmp_path / "out")).facts["size"] == 311, "of the checkpoint that it began with"
    with pytest.raises(LackingError, match="there already"):
        log.export(tmp_path / "out")


def test_an_export_goes_on_only_with_what_is_its_own(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    out, part = tmp_path / "out", tmp_path / "out.part"
    for spoil in (flipped(3), lambda lines: [lines[1], lines[0], *lines[2:]], lambda lines: [b"{}\n", *lines]):
        log.breaks_after = 5_000
        with pytest.raises(LackingError, match="broke off"):
            log.export(out)
        change(part, spoil)
        auditor.sees(log.export(out))
        shutil.rmtree(out)
    log.breaks_after = 200
    with pytest.raises(LackingError, match="broke off"):
        log.export(out, "ws_b")
    assert part.exists(), "some of it came"
    with pytest.raises(LackingError, match="was begun for ws_b"):
        log.export(out)
    shutil.rmtree(part)
    with pytest.raises(LackingError, match="no record at all"):
        log.export(out, "ws_nobody")
    assert not part.exists(), "there is nothing to go on with"
    part.mkdir()
    (part / "thesis.txt").write_text("mine")
    with pytest.raises(LackingError, match="is no export that broke off"):
        log.export(out)
    assert (part / "thesis.txt").read_text() == "mine"
    (part / "thesis.txt").unlink()
    (part / CHECKPOINT).write_bytes(FakeLog("other.test/log").append().sign().note)
    with pytest.raises(LackingError):
        log.export(out)


def test_a_size_is_told_by_whatever_holds_a_checkpoint(log: FakeLog, tmp_path: Path) -> None:
    with log.server() as server:
        (tmp_path / "one.tlog-proof").write_bytes(prove_record(server, 3, lambda: False))
    (tmp_path / "checkpoint").write_bytes(log.note)
    log.export(tmp_path / "out")
    for since in ("311", *(str(tmp_path / name) for name in ("one.tlog-proof", "checkpoint", "out"))):
        assert size_in(since) == 311, since
    (tmp_path / "bad").write_bytes(b"c2sp.org/tlog-proof@v1\n")
    for name in ("bad", "nothing"):
        with pytest.raises(LackingError, match="is no size"):
            size_in(str(tmp_path / name))


def test_one_record_is_proved_by_one_small_file(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    file = tmp_path / "one.tlog-proof"
    with log.server() as server:
        file.write_bytes(prove_record(server, 200, lambda: False))
        with pytest.raises(LackingError, match="no record at position 312"):
            prove_record(server, 312, lambda: False)
        log.append()
        with pytest.raises(LackingError, match="isn't signed yet"):
            prove_record(server, 312, lambda: False)
        with pytest.raises(LackingError, match="ends before position 500"):
            prove_record(server, 500, lambda: False)
        with pytest.raises(LackingError, match="no record at position 4"):
            prove_record(server, 4, lambda: False)
    assert file.stat().st_size < 2_000
    assert "--vkey" in auditor.sees(file, 2).text
    shown = auditor.sees(file, vkeys=(log.vkey,))
    assert (shown.facts["position"], shown.facts["record"]["number"]) == (200, 196)
    auditor.looks(log.server())
    auditor.sees(file)
    log.append().sign()
    auditor.looks(log.server())
    auditor.sees(file)  # older than what was seen since
    good = file.read_bytes()
    file.write_bytes(good.replace(b"index 199", b"index 198"))
    auditor.names(file, 199)
    file.write_bytes(b"no proof")
    auditor.sees(file, 2)
    log.append()
    with log.rewrite(200, log.rows[0][1]).server() as server:
        file.write_bytes(prove_record(server, 200, lambda: False))
    auditor.sees(file)  # larger than what was seen: a bundle or the log itself will tell
    with pytest.raises(AlteredError):
        auditor.looks(log.server())


def test_a_proof_from_a_forked_log_isnt_taken(log: FakeLog, auditor: Auditor, tmp_path: Path) -> None:
    auditor.looks(log.server())
    with log.rewrite(200, log.rows[0][1]).server() as server:
        (tmp_path / "proof").write_bytes(prove_record(server, 200, lambda: False))
    assert "forked" in auditor.names(tmp_path / "proof", 200)


@pytest.mark.parametrize("name", [MANIFEST, CHECKPOINT, RECORDS, PROOFS, CONSISTENCY])
def test_a_bundle_that_lacks_a_file_cant_be_verified(log: FakeLog, auditor: Auditor, tmp_path: Path, name: str) -> None:
    bundle = log.export(tmp_path / "out")
    (bundle / name).unlink()
    assert name in auditor.sees(bundle, 2).text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format":"keyfold-bundle/2"}', "[" * 100_000])
def test_a_manifest_that_is_none_is_said_to_be(log: FakeLog, auditor: Auditor, tmp_path: Path, text: str) -> None:
    bundle = log.export(tmp_path / "out")
    (bundle / MANIFEST).write_text(text)
    auditor.sees(bundle, 2)
    auditor.sees(tmp_path / "nothing", 2)


@pytest.mark.parametrize("changes", [{"size": 310}, {"origin": "other.test"}, {"records": 304}])
def test_a_manifest_must_be_about_what_is_there(
    log: FakeLog, auditor: Auditor, tmp_path: Path, changes: dict[str, object]
) -> None:
    edit_manifest(log.export(tmp_path / "out"), **changes)
    auditor.names(tmp_path / "out", None)


@pytest.mark.parametrize("damage", ["state", "hashes", "frontier"])
def test_a_memory_that_was_damaged_is_no_verdict_on_the_log(log: FakeLog, auditor: Auditor, damage: str) -> None:
    auditor.looks(log.server())
    (folder,) = auditor.state.iterdir()
    if damage == "hashes":
        (folder / "hashes").write_bytes(b"")
    elif damage == "state":
        (folder / "state.json").write_text("{")
    else:
        state = json.loads((folder / "state.json").read_text())
        state["frontier"][0] = "A" * 43 + "="
        (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(LackingError, match="deleting"):
        auditor.looks(log.server())


@pytest.mark.parametrize("block", [1, 7, 1000, 4096])
def test_lines_are_hashed_alike_however_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Over the positions at which positions get longer."""
    monkeypatch.setattr(records, "BLOCK", block)
    texts = [b'{"n":%d}' % n for n in range(1, 1103)]
    (tmp_path / "file").write_bytes(b"".join(bytes(Line(n, text)) for n, text in enumerate(texts, 1)))
    with (tmp_path / "file").open("rb") as file:
        assert [each for leaves in whole_log(file, Numbers()) for each in leaves] == leaf_hashes(texts)


def test_auditors_need_nothing_of_ours_but_one_folder_and_no_network(log: FakeLog, tmp_path: Path) -> None:
    """An interpreter without site-packages, with copies of the client's folder and of what Ed25519 takes alone."""
    place = tmp_path / "elsewhere"
    shutil.copytree(Path(keyfold_client.__file__).parent, place / "keyfold_client")
    for name in ("cryptography", "_cffi_backend"):
        found = find_spec(name)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (place / source.name).symlink_to(source)
    script = (
        "import sys, runpy\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.'):\n"
        "        raise SystemExit('a socket')\n"
        "sys.addaudithook(refuse)\n"
        "sys.path.append(sys.argv.pop(1))\n"
        "runpy.run_module('keyfold_client.audit', run_name='__main__', alter_sys=True)\n"
    )

    def run(bundle: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-S", "-c", script, str(place), "verify", str(bundle), "--json"]
        environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "PATH": os.environ["PATH"]}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    good = run(log.export(tmp_path / "out"))
    assert (good.returncode, json.loads(good.stdout)["records"]) == (0, 305), good.stderr
    bad = run(change(tmp_path / "out", flipped(200)))
    assert (bad.returncode, json.loads(bad.stdout)["position"]) == (1, 205), bad.stderr
    absent = run(tmp_path / "nothing")
    assert absent.returncode == 2

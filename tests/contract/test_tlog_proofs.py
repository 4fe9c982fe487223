"""Proofs of single records (c2sp.org/tlog-proof): a file of a few KB that verifies alone, and nothing else does."""

from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.audit.growth import grow
from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.checkpoints import Checkpoint
from keyfold_client.audit.merkle import ProofError, inclusion_proof, leaf_hash
from keyfold_client.audit.notes import NoteError, Verifier
from keyfold_client.audit.proofs import Proof
from keyfold_client.audit.tiles import TileNodes
from unit.cosigner import Cosigner

SIZE, INDEX = 70_000, 65_536
RECORDS = [b'{"number":%d}' % number for number in range(1, SIZE + 1)]
TREE = grow(0, {}, [leaf_hash(record) for record in RECORDS])
LOG = Signer("log.example", bytes(range(32)))
WITNESS = Cosigner("witness.example")
TEXT = Checkpoint("log.example", SIZE, TREE.root).text
PROOF = Proof(
    INDEX,
    tuple(inclusion_proof(INDEX, SIZE, TileNodes(SIZE, TREE.root, TREE.tiles.__getitem__))),
    (signed_note(TEXT, [LOG]) + WITNESS.line(TEXT)).encode(),
    RECORDS[INDEX],
)
FILE = PROOF.to_bytes()
KEYS = ([LOG.verifier], [Verifier.parse(WITNESS.vkey)])


def test_a_record_is_proved_by_its_file_alone() -> None:
    proof = Proof.parse(FILE)
    signed = proof.verify(leaf_hash(proof.extra), *KEYS, quorum=1)
    assert (signed.checkpoint.size, [each.name for each in signed.cosignatures]) == (SIZE, ["witness.example"])
    assert len(FILE) < 2_000


def test_the_file_is_as_the_specification_writes_it() -> None:
    lines = FILE.decode().split("\n")
    assert lines[:3] == ["c2sp.org/tlog-proof@v1", f"extra {b64encode(RECORDS[INDEX]).decode()}", "index 65536"]
    assert lines[3 : lines.index("")] == [b64encode(each).decode() for each in PROOF.hashes]
    assert FILE.endswith(b"\n\n" + PROOF.checkpoint)
    bare = replace(PROOF, extra=b"").to_bytes()
    assert bare.startswith(b"c2sp.org/tlog-proof@v1\nindex 65536\n")
    assert Proof.parse(bare) == replace(PROOF, extra=b"")
    assert Proof.parse(FILE) == PROOF


def test_a_log_of_one_record_needs_no_hashes() -> None:
    leaf = leaf_hash(b"one")
    text = Checkpoint("log.example", 1, leaf).text
    proof = Proof.parse(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + signed_note(text, [LOG]).encode())
    assert proof.verify(leaf, [LOG.verifier]).checkpoint.size == 1


def test_another_record_index_root_or_key_is_not_proved() -> None:
    leaf = leaf_hash(RECORDS[INDEX])
    with pytest.raises(ProofError):
        PROOF.verify(leaf_hash(RECORDS[INDEX + 1]), *KEYS)
    for wrong in (
        replace(PROOF, index=INDEX + 1),
        replace(PROOF, index=SIZE),
        replace(PROOF, hashes=PROOF.hashes[1:]),
        replace(PROOF, hashes=(*PROOF.hashes, bytes(32))),
        replace(PROOF, checkpoint=signed_note(Checkpoint("log.example", SIZE, leaf).text, [LOG]).encode()),
        replace(PROOF, checkpoint=signed_note(Checkpoint("log.example", INDEX + 1, TREE.root).text, [LOG]).encode()),
    ):
        with pytest.raises(ProofError):
            Proof.parse(wrong.to_bytes()).verify(leaf, *KEYS)
    with pytest.raises(NoteError):
        PROOF.verify(leaf, [Signer("log.example", bytes(32)).verifier])
    with pytest.raises(NoteError, match="2 are needed"):
        PROOF.verify(leaf, *KEYS, quorum=2)


def test_no_byte_of_the_file_can_be_another() -> None:
    extra = range(FILE.index(b"extra "), FILE.index(b"\nindex"))
    for at in set(range(len(FILE))) - set(extra):
        changed = FILE[:at] + bytes([FILE[at] ^ 1]) + FILE[at + 1 :]
        with pytest.raises((ProofError, NoteError)):
            Proof.parse(changed).verify(leaf_hash(RECORDS[INDEX]), *KEYS, quorum=1)
    for at in extra:
        changed = FILE[:at] + bytes([FILE[at] ^ 1]) + FILE[at + 1 :]
        with pytest.raises((ProofError, NoteError)):
            (proof := Proof.parse(changed)).verify(leaf_hash(proof.extra), *KEYS, quorum=1)


HASH = b64encode(bytes(32))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"c2sp.org/tlog-proof@v1\n",
        b"c2sp.org/tlog-proof@v2\nindex 0\n",
        b" c2sp.org/tlog-proof@v1\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\r\nindex 0\r\n",
        b"c2sp.org/tlog-proof@v1\n\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\nindex 00\n",
        b"c2sp.org/tlog-proof@v1\nindex 01\n",
        b"c2sp.org/tlog-proof@v1\nindex -1\n",
        b"c2sp.org/tlog-proof@v1\nindex  1\n",
        b"c2sp.org/tlog-proof@v1\nindex 1 \n",
        b"c2sp.org/tlog-proof@v1\nindex\n",
        b"c2sp.org/tlog-proof@v1\nindex notanumber\n",
        b"c2sp.org/tlog-proof@v1\nindex 9223372036854775808\n",
        b"c2sp.org/tlog-proof@v1\nindex " + b"9" * 5_000 + b"\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\nextra aGk=\n",
        b"c2sp.org/tlog-proof@v1\nextra \nindex 0\n",
        b"c2sp.org/tlog-proof@v1\nextra aGk\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\nextra aGl=\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\nextra aGk=\nextra aGk=\nindex 0\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n!!notbase64!!\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + HASH + b" \n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b64encode(bytes(31)) + b"\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + b64encode(bytes(64)) + b"\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n" + (HASH + b"\n") * 64,
    ],
)
def test_what_is_nearly_a_proof_is_none(head: bytes) -> None:
    with pytest.raises(ProofError, match="not a proof"):
        Proof.parse(head + b"\n" + PROOF.checkpoint)


def test_a_proof_without_checkpoint_or_of_megabytes_is_none() -> None:
    for data in (b"c2sp.org/tlog-proof@v1\nindex 0\n", b"c2sp.org/tlog-proof@v1\nindex 0\n\n", FILE + bytes(2_000_000)):
        with pytest.raises(ProofError, match="not a proof"):
            Proof.parse(data)


@given(st.binary(max_size=80) | st.text(st.sampled_from("\nindex 0=A"), max_size=60).map(str.encode))
@settings(max_examples=200, deadline=None)
def test_whatever_is_read_as_a_proof_is_written_back_alike(noise: bytes) -> None:
    for data in (noise, b"c2sp.org/tlog-proof@v1\n" + noise, b"c2sp.org/tlog-proof@v1\nindex 0\n" + noise):
        try:
            proof = Proof.parse(data)
        except ProofError:
            continue
        assert proof.to_bytes() == data

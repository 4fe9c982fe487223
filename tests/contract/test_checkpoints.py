"""Checkpoints (c2sp.org/tlog-checkpoint): one from the world, those of ours, and what is nearly one."""

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.checkpoints import Checkpoint, open_checkpoint
from keyfold_client.audit.merkle import EMPTY
from keyfold_client.audit.notes import NoteError, Verifier
from unit.cosigner import Cosigner

# of a Certificate Transparency log, whose own signatures are of another kind than ours
REAL = """\
arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=
— transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==
— witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==
— witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==
"""  # noqa: E501
ARCHE = Verifier.parse("arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f")
WITNESSES = [
    Verifier.parse("remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"),
    Verifier.parse("witness.stagemole.eu+67f7aea0+BEqSG3yu9YrmcM3BHvQYTxwFj3uSWakQepafafpUqklv"),
]
ROOT = bytes(range(32))
ROOT64 = b64encode(ROOT).decode()
LOG = Signer("log.example", bytes(range(32)))
OURS = Checkpoint("log.example", 70_000, ROOT)
FIRST, SECOND = Cosigner("w1.example"), Cosigner("w2.example")


def keys(*cosigners: Cosigner) -> list[Verifier]:
    return [Verifier.parse(each.vkey) for each in cosigners]


def note(*cosigners: Cosigner, checkpoint: Checkpoint = OURS, signer: Signer = LOG) -> bytes:
    lines = "".join(cosigner.line(checkpoint.text) for cosigner in cosigners)
    return (signed_note(checkpoint.text, [signer]) + lines).encode()


def test_a_checkpoint_of_the_public_witness_network_opens_with_two_cosignatures() -> None:
    signed = open_checkpoint(REAL.encode(), [ARCHE], WITNESSES, quorum=2)
    assert (signed.checkpoint.origin, signed.checkpoint.size) == (ARCHE.name, 1_432_088_532)
    assert [(each.name, each.timestamp) for each in signed.cosignatures] == [
        ("remora.n621.de", 0x6A122120),
        ("witness.stagemole.eu", 0x6A122120),
    ]
    for forged in (REAL.replace("1432088532", "1432088533"), REAL.replace("5MdhL1b", "5MdhL1c")):
        with pytest.raises(NoteError, match="is wrong"):
            open_checkpoint(forged.encode(), [ARCHE], WITNESSES)


def test_the_example_of_the_specification_is_read_and_written() -> None:
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    assert Checkpoint.parse(text).size == 20_852_163
    assert Checkpoint.parse(text).text == text
    assert Checkpoint.parse(text + "more\nlines\n").extensions == ("more", "lines")
    assert Checkpoint.parse(f"with spaces + plus\n0\n{b64encode(EMPTY).decode()}\n").size == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "log.example\n",
        "log.example\n7\n",
        f"log.example\n7\n{ROOT64}",
        f"\n7\n{ROOT64}\n",
        f"log.example\n\n7\n{ROOT64}\n",
        f"log.example\n7\n{ROOT64}\n\n",
        f"log.example\n7\n{ROOT64}\n\nextension\n",
        f"log.example\r\n7\r\n{ROOT64}\r\n",
        f"log.example\n07\n{ROOT64}\n",
        f"log.example\n00\n{ROOT64}\n",
        f"log.example\n+7\n{ROOT64}\n",
        f"log.example\n-7\n{ROOT64}\n",
        f"log.example\n 7\n{ROOT64}\n",
        f"log.example\n7 \n{ROOT64}\n",
        f"log.example\n7.0\n{ROOT64}\n",
        f"log.example\n7_0\n{ROOT64}\n",
        f"log.example\n0x7\n{ROOT64}\n",
        f"log.example\n\u0667\n{ROOT64}\n",
        f"log.example\n{2**63}\n{ROOT64}\n",
        f"log.example\n{'9' * 5_000}\n{ROOT64}\n",
        f"log.example\n0\n{ROOT64}\n",
        f"log.example\n7\n{ROOT64[:-1]}\n",
        f"log.example\n7\n{ROOT64}=\n",
        f"log.example\n7\n {ROOT64}\n",
        f"log.example\n7\n{ROOT.hex()}\n",
        f"log.example\n7\n{ROOT64[:-2]}9=\n",
        f"log.example\n7\n{b64encode(ROOT[:31]).decode()}\n",
        f"log.example\n7\n{b64encode(ROOT + b'x').decode()}\n",
        f"log\0.example\n7\n{ROOT64}\n",
    ],
)
def test_what_is_nearly_a_checkpoint_is_none(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


@given(st.text(max_size=100) | st.text(st.sampled_from("ab\n07="), max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_is_read_as_a_checkpoint_is_written_back_alike(noise: str) -> None:
    for text in (
        noise,
        f"log.example\n7\n{ROOT64}\n{noise}",
        f"{noise}\n{ROOT64}\n",
        f"log.example\n{noise}\n{ROOT64}\n",
    ):
        try:
            checkpoint = Checkpoint.parse(text)
        except NoteError:
            continue
        assert checkpoint.text == text


def test_a_log_vouches_for_its_own_origin_only() -> None:
    other = Signer("other.example", bytes(32))
    assert open_checkpoint(note(), [LOG.verifier, other.verifier]).checkpoint == OURS
    with pytest.raises(NoteError, match=r"no key of log\.example"):
        open_checkpoint(note(signer=other), [LOG.verifier, other.verifier])


def test_witnesses_do_not_stand_in_for_the_log() -> None:
    with pytest.raises(NoteError, match=r"no key of log\.example"):
        open_checkpoint(note(FIRST), [Signer("log.example", bytes(32)).verifier], keys(FIRST))
    disguised = Cosigner("log.example")
    with pytest.raises(NoteError, match="no key of"):
        open_checkpoint(f"{OURS.text}\n{disguised.line(OURS.text)}".encode(), [LOG.verifier], keys(disguised))
    with pytest.raises(NoteError, match="type"):
        open_checkpoint(note(FIRST), keys(FIRST))
    with pytest.raises(NoteError, match="type"):
        open_checkpoint(note(FIRST), [LOG.verifier], [LOG.verifier], quorum=1)


def test_as_many_witnesses_as_are_demanded_must_have_cosigned() -> None:
    known = keys(FIRST, SECOND)
    assert len(open_checkpoint(note(FIRST, SECOND), [LOG.verifier], known, quorum=2).cosignatures) == 2
    for some in (note(), note(FIRST), note(FIRST, FIRST), note(FIRST, Cosigner("w3.example"))):
        with pytest.raises(NoteError, match="2 are needed"):
            open_checkpoint(some, [LOG.verifier], known, quorum=2)


def test_a_witness_of_two_names_or_two_keys_counts_once() -> None:
    for again in (Cosigner("w1.example", bytes(32)), Cosigner("alias.example", FIRST.key.private_bytes_raw())):
        with pytest.raises(NoteError, match="1 known witnesses"):
            open_checkpoint(note(FIRST, again), [LOG.verifier], keys(FIRST, again), quorum=2)


def test_a_log_that_changes_its_key_is_followed_by_who_knows_either() -> None:
    new = Signer("log.example", bytes(32))
    both = signed_note(OURS.text, [new, LOG]).encode()
    for known in ([LOG.verifier], [new.verifier], [LOG.verifier, new.verifier]):
        assert len(open_checkpoint(both, known).signatures) == len(known)

"""Signed notes (c2sp.org/signed-note): published ones open, and nothing that differs from the specification does."""

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.notes import (
    COSIGNATURE,
    LARGEST_NOTE,
    Note,
    NoteError,
    Verifier,
    open_note,
    parse_note,
)
from unit.cosigner import Cosigner

# golang.org/x/mod/sumdb/note
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
GOLDEN = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""
# the example of c2sp.org/signed-note
FOO = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
TEXT = "log.example\n7\nhello\n"
LOG = Signer("log.example", bytes(range(32)))
OTHER = Signer("other.example", bytes(range(1, 33)))
WITNESS = Cosigner("witness.example/w1")
GOOD = signed_note(TEXT, [LOG])
LINE = LOG.sign(TEXT)


def opened(note: str, *vkeys: str) -> Note:
    return open_note(note.encode(), [Verifier.parse(vkey) for vkey in vkeys])


def names(note: Note) -> list[str]:
    return [signature.name for signature in note.signatures]


def test_the_published_notes_open_with_their_published_keys() -> None:
    assert names(opened(GOLDEN, PETER)) == ["PeterNeumann"]
    assert opened(GOLDEN, PETER, ENOCH).text.endswith("what your problem is.\n")
    assert opened(EXAMPLE, FOO).text == "This is an example message.\n"


@pytest.mark.parametrize("note", [GOLDEN, GOOD])
def test_no_byte_of_a_signed_note_can_be_another(note: str) -> None:
    whole = note.encode()
    for at in range(len(whole)):
        for bit in (0, 4):
            changed = whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]
            with pytest.raises(NoteError):
                open_note(changed, [Verifier.parse(PETER), LOG.verifier])
    with pytest.raises(NoteError):
        open_note(whole[:-1], [Verifier.parse(PETER), LOG.verifier])


def test_the_text_may_have_empty_lines() -> None:
    for text in ("a\n\nb\n", "a\n\n", "\n", "\n\n\n", "a\n\n— log.example b\n"):
        assert opened(signed_note(text, [LOG]), LOG.verifier_key).text == text


def test_a_verifier_key_is_written_as_it_was_read() -> None:
    for vkey in (PETER, ENOCH, FOO, WITNESS.vkey):
        assert Verifier.parse(vkey).vkey == vkey
    assert Verifier.parse(WITNESS.vkey).kind == COSIGNATURE


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "+",
        "++",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        PETER.replace("c74f20a3", "c74f20a4"),
        PETER.replace("c74f20a3", "C74F20A3"),
        PETER.replace("c74f20a3", "0c74f20a3"),
        PETER.replace("Peter", "Pieter"),
        PETER.replace("ARpc2", "BRpc2"),  # type 5
        PETER + "=",
        PETER + "\n",
        PETER[:-4],
        PETER[:-1] + "X",
        " " + PETER,
        PETER.partition("+")[0] + "+c74f20a3+ ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "\udc80" + PETER,
        # ECDSA, as of Rekor
        "rekor.sigstore.dev+c0d23d6a+" + b64encode(b"\x02" + bytes(91)).decode(),
    ],
)
def test_what_is_nearly_a_verifier_key_is_none(vkey: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(vkey)


@pytest.mark.parametrize(
    "name", ["", "a b", "a\tb", "a\u00a0b", "a\u2003b", "a\u2028b", "a\u0085b", "a+b", "a\nb", "a\0b"]
)
def test_a_key_name_has_no_spaces_plus_or_control_characters(name: str) -> None:
    with pytest.raises(NoteError):
        Signer(name, bytes(32))
    with pytest.raises(NoteError):
        parse_note(f"text\n\n— {name} {b64encode(bytes(68)).decode()}\n".encode())


def base64(change: Callable[[str], str]) -> str:
    head, _, encoded = LINE.rstrip("\n").rpartition(" ")
    return f"{TEXT}\n{head} {change(encoded)}\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT + "\n",
        TEXT + LINE,
        LINE,
        "\n" + LINE,
        GOOD + "\n",
        GOOD + "x",
        GOOD + "x\n",
        GOOD.rstrip("\n"),
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("hello", "he\tllo"),
        GOOD.replace("hello", "he\0llo"),
        GOOD.replace("hello", "he\x1fllo"),
        GOOD.replace("— ", "—"),
        GOOD.replace("— ", "-- "),
        GOOD.replace("— ", "\u2013 "),
        GOOD.replace("— ", "—  "),
        GOOD.replace("— ", " — "),
        GOOD.replace("log.example ", "log.example  "),
        f"{TEXT}\n{LINE}\n{LINE}"[:-2],
        base64(lambda text: text + "="),
        base64(lambda text: text.rstrip("=")),
        base64(lambda text: text + " "),
        base64(lambda text: text[:20] + "\u00e9" + text[21:]),
        base64(lambda text: text.replace("+", "-").replace("/", "_") + "_"),
        base64(lambda _: ""),
        base64(lambda _: b64encode(LOG.verifier.key_id).decode()),
        # the bits that padding leaves unused, set
        base64(lambda text: text[:-2] + chr(ord(text[-2]) + 1) + "="),
    ],
)
def test_what_is_nearly_a_note_is_none(note: str) -> None:
    with pytest.raises(NoteError):
        opened(note, LOG.verifier_key)


def test_a_note_is_utf_8() -> None:
    for bad in (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80"):
        with pytest.raises(NoteError, match="UTF-8"):
            open_note(GOOD.encode().replace(b"hello", bad), [LOG.verifier])


def unknown(number: int) -> str:
    return f"— unknown.example/{number} {b64encode(number.to_bytes(4) + bytes(5_000)).decode()}\n"


def test_sixteen_large_signatures_and_more_are_accepted_but_no_flood_of_them() -> None:
    others = "".join(map(unknown, range(80)))
    assert names(opened(GOOD + others, LOG.verifier_key)) == ["log.example"]
    assert names(opened(f"{TEXT}\n{others}{LINE}", LOG.verifier_key)) == ["log.example"]
    with pytest.raises(NoteError, match="more than 100"):
        opened(f"{TEXT}\n{LINE}" + LINE * 100, LOG.verifier_key)
    with pytest.raises(NoteError, match="too large"):
        parse_note(b"x" * (LARGEST_NOTE + 1))


def test_signatures_of_unknown_keys_are_ignored_even_under_a_known_name_or_id() -> None:
    same_name = f"— log.example {b64encode(b'0000' + bytes(64)).decode()}\n"
    same_id = f"— someone.example {b64encode(LOG.verifier.key_id + bytes(64)).decode()}\n"
    short = f"— post-quantum.example {b64encode(b'1234' + b'x').decode()}\n"
    note = f"{TEXT}\n{same_name}{same_id}{short}{LINE}"
    assert opened(note, LOG.verifier_key).signatures == (parse_note(GOOD.encode()).signatures[0],)
    assert len(parse_note(note.encode()).signatures) == 4
    with pytest.raises(NoteError, match=r"but by log\.example, post-quantum\.example, someone\.example"):
        opened(note, OTHER.verifier_key)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 72])
def test_a_bad_signature_of_a_known_key_is_fatal_whatever_else_is_good(length: int) -> None:
    for signer in (LOG.verifier, Verifier.parse(WITNESS.vkey)):
        bad = f"— {signer.name} {b64encode(signer.key_id + bytes(length)).decode()}\n"
        good = f"{TEXT}\n{LINE}{OTHER.sign(TEXT)}{WITNESS.line(TEXT)}"
        for note in (good + bad, good.replace("\n\n", f"\n\n{bad}")):
            with pytest.raises(NoteError, match=f"signature of {signer.name} .* is wrong"):
                opened(note, OTHER.verifier_key, signer.vkey)


def test_a_key_that_signed_twice_counts_once() -> None:
    note = f"{TEXT}\n{LINE}{LINE}{WITNESS.line(TEXT, 5)}{WITNESS.line(TEXT, 6)}"
    assert names(opened(note, LOG.verifier_key, LOG.verifier_key, WITNESS.vkey)) == [LOG.name, WITNESS.name]


def test_two_keys_of_one_name_and_id_are_not_told_apart_by_guessing() -> None:
    forged = Verifier(LOG.name, LOG.verifier.kind, OTHER.verifier.key)

    class Colliding(Verifier):
        @property
        def key_id(self) -> bytes:
            return LOG.verifier.key_id

    with pytest.raises(NoteError, match="two keys"):
        open_note(GOOD.encode(), [LOG.verifier, Colliding(*forged)])


def test_a_note_opens_with_no_key_not_even_none() -> None:
    with pytest.raises(NoteError, match="known here"):
        opened(GOOD)


def test_a_cosignature_is_over_its_time_and_the_text() -> None:
    note = f"{TEXT}\n{WITNESS.line(TEXT)}"
    (signature,) = opened(note, WITNESS.vkey).signatures
    assert (signature.timestamp, signature.line + "\n") == (1_679_315_147, WITNESS.line(TEXT))
    head, _, encoded = note.rstrip("\n").rpartition(" ")
    raw = bytearray(b64decode(encoded))
    raw[11] ^= 1
    with pytest.raises(NoteError, match="is wrong"):
        opened(f"{head} {b64encode(raw).decode()}\n", WITNESS.vkey)


def test_a_cosignature_from_beyond_time_is_wrong() -> None:
    assert opened(f"{TEXT}\n{WITNESS.line(TEXT, 2**63 - 1)}", WITNESS.vkey)
    with pytest.raises(NoteError, match="is wrong"):
        opened(f"{TEXT}\n{WITNESS.line(TEXT, 2**63)}", WITNESS.vkey)


def test_a_key_for_one_kind_of_signature_makes_no_other() -> None:
    plain = Signer(WITNESS.name, WITNESS.key.private_bytes_raw())
    with pytest.raises(NoteError, match="known here"):
        opened(signed_note(TEXT, [plain]), WITNESS.vkey)
    # the same bytes under the other kind's id
    _, _, blob, *_ = parse_note(signed_note(TEXT, [plain]).encode()).signatures[0]
    for forged in (blob, bytes(8) + blob):
        with pytest.raises(NoteError, match="is wrong"):
            opened(f"{TEXT}\n— {WITNESS.name} {b64encode(WITNESS.key_id + forged).decode()}\n", WITNESS.vkey)


@given(st.binary(max_size=300) | st.text(st.sampled_from("a\n —+=/A"), max_size=60).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_anything_at_all_is_a_note_or_refused_as_one(noise: bytes) -> None:
    for data in (noise, TEXT.encode() + noise, GOOD.encode() + noise, noise + b"\n\n" + LINE.encode()):
        try:
            note = parse_note(data)
        except NoteError:
            continue
        lines = "".join(f"{signature.line}\n" for signature in note.signatures)
        assert f"{note.text}\n{lines}".encode() == data
        assert all(signature.blob for signature in note.signatures)


@given(
    st.text(max_size=80)
    | st.tuples(st.text(max_size=9), st.binary(max_size=40)).map(lambda p: f"{p[0]}+00000000+{p[1].hex()}")
)
@settings(max_examples=200, deadline=None)
def test_anything_at_all_is_a_verifier_key_or_refused_as_one(noise: str) -> None:
    with pytest.raises(NoteError):
        Verifier.parse(noise)

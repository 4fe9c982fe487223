"""Our signatures, checked with nothing but the specification's words."""

from base64 import b64decode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyfold.audit.signing import Signer, signed_note
from keyfold_client.audit.notes import NoteError

SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GOLDEN = """\
If you think cryptography is the answer to your problem,
then you don't know what your problem is.

— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
"""


def test_the_published_key_makes_the_published_note() -> None:
    signer = Signer.parse(SECRET)
    assert signer.verifier_key == "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert signer.secret_key() == SECRET
    assert signed_note(GOLDEN.rpartition("\n\n")[0] + "\n", [signer]) == GOLDEN


def test_what_we_sign_verifies_with_the_algorithm_of_the_specification() -> None:
    signer = Signer.generate("log.example/keyfold")
    text = "log.example/keyfold\n1\nKräuter\n"
    note = signed_note(text, [signer]).encode()
    at = note.rindex(b"\n\n") + 1
    signed, line = note[:at], note[at + 1 :].decode()
    dash, name, encoded = line.removesuffix("\n").split(" ")
    vkey_name, vkey_id, vkey_key = signer.verifier_key.split("+", 2)
    public = b64decode(vkey_key)
    assert (signed.decode(), dash, name) == (text, "\N{EM DASH}", vkey_name)
    assert public[0] == 0x01
    key_id = sha256(name.encode() + b"\x0a" + b"\x01" + public[1:]).digest()[:4]
    assert (key_id.hex(), b64decode(encoded)[:4]) == (vkey_id, key_id)
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(b64decode(encoded)[4:], signed)


def test_a_new_key_is_another_and_is_read_back() -> None:
    one, other = Signer.generate("log.example"), Signer.generate("log.example")
    assert one.verifier_key != other.verifier_key
    assert Signer.parse(one.secret_key()).verifier_key == one.verifier_key


@pytest.mark.parametrize(
    "skey",
    [
        "",
        "PRIVATE+KEY+PeterNeumann",
        SECRET.removeprefix("PRIVATE+"),
        SECRET.replace("PRIVATE", "PUBLIC"),
        SECRET.replace("c74f20a3", "c74f20a4"),
        SECRET.replace("c74f20a3", "C74F20A3"),
        SECRET.replace("Peter", "Pe ter"),
        SECRET.replace("PeterNeumann", ""),
        SECRET.replace("+AYE", "+AoE"),
        SECRET[:-4],
        SECRET + "AAAA",
        SECRET + "\n",
        SECRET[:-1] + "é",
        SECRET.rpartition("+")[0] + "+",
    ],
)
def test_what_is_nearly_a_log_key_is_refused_and_not_shown(skey: str) -> None:
    with pytest.raises(ValueError, match="not a log key") as refused:
        Signer.parse(skey)
    assert "AYEKFAL" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_key_shows_no_secret() -> None:
    assert "AYEKFAL" not in f"{Signer.parse(SECRET)} {Signer.parse(SECRET)!r} {vars(Signer.parse(SECRET))}"


def test_nothing_is_signed_that_no_note_may_have() -> None:
    signer = Signer.parse(SECRET)
    for text in ("", "no newline", "a\rb\n", "a\0\n", "a\udc80\n"):
        with pytest.raises(NoteError):
            signer.sign(text)
    with pytest.raises(NoteError):
        Signer("a b", bytes(32))

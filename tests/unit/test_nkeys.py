"""NATS' own forms: as other implementations write and read them."""

import base64
import json

import nkeys as reference  # type: ignore[import-untyped]
import pytest
from hypothesis import given, strategies
from nacl.signing import VerifyKey

from keyfold.bus.nkeys import Kind, NKey, XKey, claims_of, credentials, from_seed, public_text, raw_public

SEEDS = strategies.binary(min_size=32, max_size=32)
KINDS: dict[Kind, str] = {"account": "A", "user": "U", "operator": "O", "server": "N"}

# NaCl's own test of crypto_box: the two secret keys of RFC 7748, section 6.1, and a message between them
ALICE = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
BOB = bytes.fromhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
NONCE = bytes.fromhex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37")
MESSAGE = bytes.fromhex(
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc"
    "e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31"
    "0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde"
    "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
)
BOX = bytes.fromhex(
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce"
    "48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c972"
    "71d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae"
    "90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b3"
    "7973f622a43d14a6599b1f654cb45a74e355a5"
)


def test_a_seed_from_the_documentation_of_nats_has_its_public_key() -> None:
    key = from_seed("SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY")
    assert key.public == "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, message=strategies.binary(max_size=100))
def test_a_key_is_the_one_that_other_implementations_read_from_its_seed(
    kind: Kind, seed: bytes, message: bytes
) -> None:
    mine = NKey(kind, seed)
    theirs = reference.from_seed(mine.seed.encode())
    assert mine.seed.startswith(f"S{KINDS[kind]}")
    assert mine.public == theirs.public_key.decode()
    assert mine.sign(message) == theirs.sign(message)


@given(seed=SEEDS)
def test_a_users_key_is_read_from_its_seed_and_no_others_is(seed: bytes) -> None:
    assert from_seed(NKey("user", seed).seed).public == NKey("user", seed).public
    for kind in ("account", "operator", "server"):
        with pytest.raises(ValueError):
            from_seed(NKey(kind, seed).seed)


@given(text=strategies.text(max_size=80) | strategies.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567=", max_size=80))
def test_what_is_no_seed_and_no_public_key_is_refused(text: str) -> None:
    for read in (from_seed, raw_public, claims_of):
        with pytest.raises(ValueError):
            read(text)


@given(seed=SEEDS, place=strategies.integers(0, 55), letter=strategies.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_misread_letter_is_noticed(seed: bytes, place: int, letter: str) -> None:
    text = NKey("user", seed).public
    if text[place] != letter:
        with pytest.raises(ValueError):
            raw_public(text[:place] + letter + text[place + 1 :])


def test_a_key_shows_its_public_half_alone() -> None:
    key = NKey("user", bytes(32))
    for shown in (repr(key), str(key), f"{key}"):
        assert shown == f"NKey({key.public})"


def test_a_jwt_is_signed_over_what_it_says() -> None:
    key = NKey("account", bytes(32))
    token = key.jwt("USOMEBODY", {"type": "user"}, issued_at=7, name="x", exp=9)
    header, content, signature = token.split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (header, content)]
    assert decoded[0] == {"typ": "JWT", "alg": "ed25519-nkey"}
    said = decoded[1]
    assert said == claims_of(token)
    assert (said["iss"], said["sub"], said["iat"], said["exp"]) == (key.public, "USOMEBODY", 7, 9)
    assert (said["nats"], said["name"]) == ({"type": "user"}, "x")
    signed = f"{header}.{content}".encode()
    VerifyKey(raw_public(key.public)).verify(signed, base64.urlsafe_b64decode(signature + "=="))


def test_a_jwts_id_follows_from_what_it_says() -> None:
    key = NKey("account", bytes(32))
    first, same, other = (claims_of(key.jwt("U", {"n": n}, issued_at=7))["jti"] for n in (1, 1, 2))
    assert first == same != other


def test_a_box_of_nacl_is_opened() -> None:
    alice, bob = XKey(ALICE), XKey(BOB)
    assert bob.open(b"xkv1" + NONCE + BOX, alice.public) == MESSAGE
    assert raw_public(bob.public).hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"


@given(message=strategies.binary(max_size=1_000))
def test_what_is_sealed_is_for_one_from_one(message: bytes) -> None:
    alice, bob, eve = XKey(ALICE), XKey(BOB), XKey(bytes(32))
    sealed = alice.seal(message, bob.public)
    assert bob.open(sealed, alice.public) == message
    assert alice.seal(message, bob.public) != sealed
    for whose, sender, text in (
        (eve, alice, sealed),
        (bob, eve, sealed),
        (bob, alice, sealed[:-1]),
        (bob, alice, b"xkv2" + sealed[4:]),
        (bob, alice, b""),
        (bob, alice, b"xkv1"),
    ):
        with pytest.raises(ValueError):
            whose.open(text, sender.public)


def test_credentials_are_read_as_other_clients_read_them() -> None:
    """Between lines of dashes whose number differs: `nsc` writes them like this."""
    key = NKey("user", bytes(32))
    text = credentials("a.b.c", key)
    assert text.count("-----BEGIN NATS USER JWT-----\na.b.c\n------END NATS USER JWT------\n") == 1
    assert text.count(f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n") == 1


def test_the_letters_of_kinds_are_those_of_nats() -> None:
    letters = {kind: public_text(kind, bytes(32))[0] for kind in (*KINDS, "curve")}
    assert letters == {**KINDS, "curve": "X"}

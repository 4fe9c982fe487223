"""The vault: digests under versioned peppers, and answers that only the holder of the idempotency key opens."""

import hashlib
import hmac
import os

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, strategies

from keyfold.app.ports import Digest
from keyfold.app.vault import Vault
from keyfold.domain.tokens import ENTROPY, Token, mint
from keyfold.settings import Secret

OLD, NEW = Secret(b"o" * 32), Secret(b"n" * 32)
KEY = "key_01h455vb4pex5vsknk084sn02q"


def vault(*versions: int) -> Vault:
    return Vault({version: {1: OLD, 2: NEW}[version] for version in versions}, os.urandom)


def token(first: int = 0) -> Token:
    return mint("kf_prod", KEY, bytes([first] * ENTROPY))


def test_a_digest_is_the_hmac_of_the_whole_token_under_the_newest_pepper() -> None:
    expected = hmac.digest(NEW.reveal, b"token\0" + token().reveal.encode(), hashlib.sha256)
    assert vault(1, 2).digest(token()) == Digest(KEY, 2, expected)


def test_the_same_token_and_pepper_give_the_same_digest_and_another_pepper_another() -> None:
    assert vault(1).digest(token()) == vault(1).digest(token())
    assert vault(1).digest(token()).value != vault(2).digest(token()).value
    assert vault(1).digest(token(0)).value != vault(1).digest(token(1)).value


def test_a_token_matches_its_own_digest_and_no_other() -> None:
    assert vault(1).matches(token(0), vault(1).digest(token(0)))
    assert not vault(1).matches(token(0), vault(1).digest(token(1)))
    assert not vault(1).matches(token(0), None)


def test_what_was_issued_under_an_older_pepper_matches_after_a_newer_one_was_added() -> None:
    assert vault(1, 2).matches(token(), vault(1).digest(token()))


def test_a_digest_under_a_pepper_that_is_gone_matches_nothing() -> None:
    assert not vault(2).matches(token(), vault(1).digest(token()))
    # not even what the current pepper would give under the lost version's number
    assert not vault(2).matches(token(), Digest(KEY, 1, vault(2).digest(token()).value))


def test_an_empty_digest_is_nobodys() -> None:
    assert not vault(1).matches(token(), Digest(KEY, 1, bytes(32)))
    assert not vault(1).matches(token(), Digest(KEY, 9, bytes(32)))


def test_neither_digests_nor_replay_keys_nor_peppers_show_themselves() -> None:
    digest, key = vault(1).digest(token()), vault(1).replay_key("once", "scope", b"{}")
    assert (repr(digest), repr(key), repr(OLD)) == (f"Digest({KEY})", "ReplayKey(…)", "Secret(…)")


@given(strategies.binary())
def test_an_answer_is_opened_with_the_key_that_sealed_it(answer: bytes) -> None:
    key = vault(1).replay_key("once", "scope", b"{}")
    assert vault(1).unseal(key, vault(1).seal(key, answer)) == answer


def test_a_sealed_answer_shows_nothing_and_never_looks_the_same_twice() -> None:
    key = vault(1).replay_key("once", "scope", b"{}")
    sealed = [vault(1).seal(key, b"kf_prod_secret") for _ in range(2)]
    assert b"secret" not in sealed[0] + sealed[1]
    assert sealed[0] != sealed[1]


@pytest.mark.parametrize(
    ("idempotency_key", "scope", "peppers"),
    [("twice", "scope", (1,)), ("once", "other", (1,)), ("once", "scope", (2,))],
)
def test_an_answer_is_not_opened_with_another_key_by_another_caller_or_without_the_pepper(
    idempotency_key: str, scope: str, peppers: tuple[int, ...]
) -> None:
    right = vault(1).replay_key("once", "scope", b"{}")
    wrong = vault(*peppers).replay_key(idempotency_key, scope, b"{}")
    assert wrong.id != right.id
    with pytest.raises(InvalidTag):
        vault(1).unseal(wrong, vault(1).seal(right, b"answer"))


def test_an_answer_that_was_moved_or_changed_is_not_opened() -> None:
    key = vault(1).replay_key("once", "scope", b"{}")
    sealed = vault(1).seal(key, b"answer")
    with pytest.raises(InvalidTag):
        vault(1).unseal(key, sealed[:-1] + bytes([sealed[-1] ^ 1]))


def test_the_same_key_for_another_request_has_the_same_id_and_another_fingerprint() -> None:
    first, second = (vault(1).replay_key("once", "scope", body) for body in (b'{"a":1}', b'{"a":2}'))
    assert (first.id, first.sealing_key) == (second.id, second.sealing_key)
    assert first.fingerprint != second.fingerprint


def test_key_and_scope_can_not_be_shifted_into_each_other() -> None:
    assert vault(1).replay_key("ab", "c", b"").id != vault(1).replay_key("a", "bc", b"").id


def test_what_is_stored_doesnt_give_away_the_sealing_key() -> None:
    key = vault(1).replay_key("once", "scope", b"{}")
    assert len({key.id, key.fingerprint, key.sealing_key}) == 3


def test_adding_a_newer_pepper_forgets_no_answer() -> None:
    assert vault(1, 2).replay_key("once", "scope", b"{}") == vault(1).replay_key("once", "scope", b"{}")

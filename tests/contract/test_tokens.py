"""What is shown once: its form, its checksum, its published patterns, and that it never shows itself."""

import re
import zlib
from typing import get_args

import msgspec
import pytest
from hypothesis import given, strategies

from keyfold.domain.tokens import ENTROPY, KEY_PATTERN, LINK_PATTERN, Mark, mint, parse_token

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SUFFIX = "01h455vb4pex5vsknk084sn02q"
PREFIXES = {"kfl": "lnk", "kfs": "pse", "kfi": "sgn", "kfc": "cns"}
MARKS: tuple[Mark, ...] = get_args(Mark)
ENTROPIES = strategies.binary(min_size=ENTROPY, max_size=ENTROPY)


def of(mark: Mark) -> str:
    return f"{PREFIXES.get(mark, 'key')}_{SUFFIX}"


def number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 62 + BASE62.index(digit)
    return value


@given(strategies.sampled_from(MARKS), ENTROPIES)
def test_a_token_is_mark_id_secret_and_checksum(mark: Mark, entropy: bytes) -> None:
    token = mint(mark, of(mark), entropy)
    form = re.fullmatch(rf"{mark}_{SUFFIX}_([0-9A-Za-z]{{43}})([0-9A-Za-z]{{6}})", token.reveal)
    assert form is not None
    assert number(form[1]) == int.from_bytes(entropy)
    assert number(form[2]) == zlib.crc32(token.reveal[:-6].encode())


@given(strategies.sampled_from(MARKS), ENTROPIES)
def test_a_token_is_read_back_with_what_it_is_of(mark: Mark, entropy: bytes) -> None:
    token = mint(mark, of(mark), entropy)
    assert (token.id, token.mark) == (of(mark), mark)
    assert parse_token(token.reveal) == token


@pytest.mark.parametrize("mark", MARKS)
def test_every_change_of_a_single_character_is_caught(mark: Mark) -> None:
    text = mint(mark, of(mark), bytes(range(ENTROPY))).reveal
    changed = [
        text[:place] + other + text[place + 1 :]
        for place in range(len(text))
        for other in BASE62 + "_-= \n\0é"
        if other != text[place]
    ]
    assert [each for each in changed if parse_token(each) is not None] == []


@given(strategies.sampled_from(MARKS), ENTROPIES, strategies.data())
def test_every_swap_of_neighbours_is_caught(mark: Mark, entropy: bytes, data: strategies.DataObject) -> None:
    text = mint(mark, of(mark), entropy).reveal
    place = data.draw(strategies.integers(0, len(text) - 2))
    swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    assert (parse_token(swapped) is None) is (swapped != text)


@given(strategies.sampled_from(MARKS), ENTROPIES, strategies.text(BASE62, min_size=6, max_size=6))
def test_with_another_checksum_it_is_none(mark: Mark, entropy: bytes, checksum: str) -> None:
    text = mint(mark, of(mark), entropy).reveal
    assert (parse_token(text[:-6] + checksum) is None) is (checksum != text[-6:])


@pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "Bearer {}", "{0}{0}"])
def test_a_token_with_anything_around_it_is_none(around: str) -> None:
    assert parse_token(around.format(mint("kf_prod", of("kf_prod"), bytes(ENTROPY)).reveal)) is None


@given(strategies.sampled_from(MARKS), ENTROPIES)
def test_the_published_patterns_find_keys_and_links_in_the_middle_of_anything(mark: Mark, entropy: bytes) -> None:
    text = mint(mark, of(mark), entropy).reveal
    found = [re.findall(pattern, f'x="{text}";') for pattern in (KEY_PATTERN, LINK_PATTERN)]
    assert found == {"kfl": [[], [text]]}.get(mark, [[text], []] if mark.startswith("kf_") else [[], []])


@given(strategies.sampled_from(MARKS), ENTROPIES)
def test_a_token_shows_only_which_one_it_is(mark: Mark, entropy: bytes) -> None:
    token = mint(mark, of(mark), entropy)
    secret = token.reveal.rpartition("_")[2]
    assert [each for each in (repr(token), str(token), f"{token}", repr([token])) if secret[:8] in each] == []
    assert of(mark) in repr(token)


def test_two_tokens_of_the_same_thing_differ_by_their_entropy() -> None:
    tokens = {mint("kfl", of("kfl"), bytes([each] * ENTROPY)).reveal for each in range(256)}
    assert len(tokens) == 256


def test_a_token_can_not_be_changed() -> None:
    token = mint("kfl", of("kfl"), bytes(ENTROPY))
    with pytest.raises(AttributeError):
        token.reveal = "another"  # type: ignore[misc]  # which is the point
    assert msgspec.structs.replace(token) == token

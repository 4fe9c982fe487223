"""What is shown once: access keys, and the tokens of onboarding links, portal sessions, sign-in links and console
sessions.

All have one form, `<mark>_<id>_<secret><checksum>`: 26 characters of a TypeID, a 256-bit secret in 43 base62
characters, and the CRC-32 of all that precedes it in 6. Underscores, so that a double click selects the whole; a
published pattern (`KEY_PATTERN`, `LINK_PATTERN`), so that secret scanners find it.
"""

import re
import zlib
from typing import Literal

import msgspec

from keyfold.domain.ids import SUFFIX

Mark = Literal["kf_prod", "kf_stage", "kf_dev", "kf_acc", "kf_int", "kfl", "kfs", "kfi", "kfc"]
"""Keys by what they are for; an onboarding link, a portal session, a sign-in link, a console session."""

KEY_PATTERN = rf"kf_(?:prod|stage|dev|acc|int)_{SUFFIX}_[0-9A-Za-z]{{49}}"
LINK_PATTERN = rf"kfl_{SUFFIX}_[0-9A-Za-z]{{49}}"
ENTROPY = 32
"""Bytes of entropy that a new token takes."""

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]
_FORM = re.compile(
    rf"(?P<mark>kf_prod|kf_stage|kf_dev|kf_acc|kf_int|kf[lsic])_(?P<suffix>{SUFFIX})_(?P<secret>[0-9A-Za-z]{{43}})(?P<checksum>[0-9A-Za-z]{{6}})"
)
_PREFIXES = {"kfl": "lnk", "kfs": "pse", "kfi": "sgn", "kfc": "cns"}


class Token(msgspec.Struct, frozen=True):
    """A whole token. Its `repr` shows only which one it is; `reveal` is for whom it is made."""

    id: str
    mark: Mark
    reveal: str

    def __repr__(self) -> str:
        return f"Token({self.mark}, {self.id})"

    __str__ = __repr__


def mint(mark: Mark, of: str, entropy: bytes) -> Token:
    """The token of the thing with the TypeID `of`, from `ENTROPY` bytes."""
    head = f"{mark}_{of.partition('_')[2]}_{_base62(int.from_bytes(entropy), 43)}"
    return Token(id=of, mark=mark, reveal=head + _checksum(head))


def parse_token(text: str) -> Token | None:
    """The token that `text` is, or None: wrong form or wrong checksum, before anything is looked up."""
    match = _FORM.fullmatch(text)
    if match is None or _checksum(text[:-6]) != match["checksum"]:
        return None
    mark: Mark = match["mark"]  # type: ignore[assignment]  # the pattern allows no other
    return Token(id=f"{_PREFIXES.get(mark, 'key')}_{match['suffix']}", mark=mark, reveal=text)


def _checksum(head: str) -> str:
    return _base62(zlib.crc32(head.encode()), 6)


def _base62(number: int, width: int) -> str:
    pairs = []
    for _ in range(0, width, 2):
        number, pair = divmod(number, 62 * 62)
        pairs.append(_PAIRS[pair])
    return "".join(reversed(pairs))[-width:]

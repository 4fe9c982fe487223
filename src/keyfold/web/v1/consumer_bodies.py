"""What clients send to consumers."""

from typing import Annotated

import msgspec

from keyfold.domain.filters import Filter
from keyfold.domain.rule import History
from keyfold.web.v1.common import LAST_POSITION, Body

TOKENS = 1_000
Tokens = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=120)], ...], msgspec.Meta(min_length=1, max_length=TOKENS)
]
Place = Annotated[str, msgspec.Meta(max_length=64)]


class PullBody(Body, frozen=True, kw_only=True):
    """`waitSeconds` is how long the answer waits for a first event; it never waits for a full batch."""

    batch: Annotated[int, msgspec.Meta(ge=1, le=256)] = 100
    wait_seconds: Annotated[int, msgspec.Meta(ge=0, le=30)] = 20


class TokensBody(Body, frozen=True, kw_only=True):
    """`tokens` as they came with the events."""

    tokens: Tokens


class NackBody(Body, frozen=True, kw_only=True):
    """Without `delaySeconds` the events come again after 1, 5, 30, 120 and 600 seconds, longer each time."""

    tokens: Tokens
    delay_seconds: Annotated[int, msgspec.Meta(ge=0, le=86400)] | None = None


class TerminateBody(Body, frozen=True, kw_only=True):
    """`reason` is shown with the dead letter."""

    tokens: Tokens
    reason: Annotated[str, msgspec.Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None


class ConsumerBody(Body, frozen=True, kw_only=True):
    """What is left out of `topics`, `filters` and `history` is all that the key may receive. `start` is `beginning`,
    `end` or a time."""

    name: Annotated[str, msgspec.Meta(max_length=64)]
    topics: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)] | None = None
    filters: tuple[Filter, ...] | None = None
    history: History | None = None
    start: Place = "end"


class SeekBody(Body, frozen=True, kw_only=True):
    """`from` is `beginning`, `end`, a time, or a sequence."""

    from_: Place | Annotated[int, msgspec.Meta(ge=1, le=LAST_POSITION)] = msgspec.field(name="from")

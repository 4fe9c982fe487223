"""Topics and patterns of them: what a pattern covers, and what lies within what."""

import re
from functools import lru_cache

TOPIC_LENGTH = 200

_PATTERN = re.compile(r"(?:(?:[A-Za-z0-9_-]+|\*)/)*(?:[A-Za-z0-9_-]+|\*|\*\*)")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_ANY = "\0"
"""A segment that no pattern names: what holds for it holds for nearly every segment."""


def is_topic(text: str) -> bool:
    """Whether `text` is a topic: segments of `[A-Za-z0-9_-]` with slashes between."""
    return len(text) <= TOPIC_LENGTH and _TOPIC.fullmatch(text) is not None


@lru_cache(maxsize=4096)
def is_pattern(text: str) -> bool:
    """Whether `text` is a topic pattern: `*` stands for one segment, a trailing `**` for the rest."""
    return len(text) <= TOPIC_LENGTH and _PATTERN.fullmatch(text) is not None


def covers(pattern: str, topic: str) -> bool:
    """Whether the topic lies within the pattern. A trailing `**` stands for one segment or more."""
    wanted, given = pattern.split("/"), topic.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        if len(given) <= len(wanted):
            return False
        given = given[: len(wanted)]
    return len(wanted) == len(given) and all(want in ("*", got) for want, got in zip(wanted, given, strict=True))


def within(pattern: str, ceilings: tuple[str, ...]) -> bool:
    """Whether every topic that the pattern covers is covered by one of the ceilings, not always the same one.

    Exact: a ceiling covers a topic of segments that nobody names only where it has wildcards, and then it covers every
    topic of that length that the pattern does. A trailing `**` is tried at each length up to one more than any ceiling
    tells apart.
    """
    *head, last = (_ANY if segment == "*" else segment for segment in pattern.split("/"))
    longest = max((len(ceiling.split("/")) for ceiling in ceilings), default=0)
    tails = [[_ANY] * n for n in range(1, max(1, longest - len(head) + 1) + 1)] if last == "**" else [[last]]
    return all(any(covers(ceiling, "/".join([*head, *tail])) for ceiling in ceilings) for tail in tails)

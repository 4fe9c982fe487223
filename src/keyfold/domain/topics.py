"""Topics and patterns of them: what a pattern covers, and what lies within what."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

TOPIC_LENGTH = 200

_PATTERN = re.compile(r"(?:(?:[A-Za-z0-9_-]+|\*)/)*(?:[A-Za-z0-9_-]+|\*|\*\*)")
_TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")
_ANY = "\0"
"""A segment that no pattern names: what holds for it holds for nearly every segment."""

_Tree: TypeAlias = "dict[str, _Tree]"
"""Patterns by their segments. With it the largest rules take a moment to compare; each with each would take minutes."""
_END = ""
"""Where a pattern of the tree ends."""


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


def common(ones: tuple[str, ...], others: tuple[str, ...]) -> tuple[str, ...]:
    """Patterns that together cover exactly the topics that one of `ones` covers and one of `others` too.

    In the order of both, and none that lies within another. They may be longer than a pattern that people write.
    """
    pairs = ((one.split("/"), other.split("/")) for one in ones for other in others)
    shared = {"/".join(both): both for each in pairs if (both := _both(*each))}
    tree = _tree(shared.values())
    return tuple(pattern for pattern, segments in shared.items() if not _is_within_another(segments, tree))


def _both(one: list[str], other: list[str]) -> list[str] | None:
    """The pattern of the topics that both patterns cover, if there are any."""
    short, long = sorted((one, other), key=len)
    if short[-1] == "**":
        short = [*short[:-1], *["*"] * (len(long) - len(short)), "**"]
    if len(short) != len(long):
        return None
    segments = [both for each in zip(short, long, strict=True) if (both := _narrower(*each))]
    return segments if len(segments) == len(long) else None


def _narrower(one: str, other: str) -> str | None:
    for wild in ("**", "*"):
        if wild in (one, other):
            return other if one == wild else one
    return one if one == other else None


def _tree(patterns: Iterable[list[str]]) -> _Tree:
    tree: _Tree = {}
    for segments in patterns:
        node = tree
        for segment in [*segments, _END]:
            node = node.setdefault(segment, {})
    return tree


def _is_within_another(segments: list[str], tree: _Tree) -> bool:
    """Whether a pattern of the tree lies within another one there. `nodes`: where those that may be it have come to."""
    nodes = [tree]
    for segment in segments:
        with_any_rest = sum("**" in node for node in nodes)
        if segment == "**":
            return with_any_rest > 1  # the pattern itself is one
        if with_any_rest:
            return True
        nodes = [node[each] for node in nodes for each in {segment, "*"} if each in node]
    return sum(_END in node for node in nodes) > 1

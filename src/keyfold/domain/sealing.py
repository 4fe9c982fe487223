"""What of an event is personal, and how it leaves the record's readable part and comes back into it.

Personal fields are taken out of an event before it is written, and lie beside it in boxes that open with a data key of
whom they are about. What is taken out is laid over the rest again on reading, value by value: unlike in a JSON Merge
Patch, null is a value.
"""

from typing import Any

import msgspec

from keyfold.domain.merging import autofill


class Box(msgspec.Struct, frozen=True):
    """`box` is base64url of a nonce (12 bytes), the sealed JSON and its tag; `under` is whose data key opens it."""

    under: str
    box: str


class Contents(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a box holds: members of the record's `actor` and `data`."""

    actor: dict[str, Any] = {}
    data: dict[str, Any] = {}


def split(data: dict[str, Any], personal: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """An event's JSON without what is personal, and that alone. A dot leads into an object: `before.name`.

    Null stays where it is: it says nothing about anybody, and that a field was cleared is part of the story.
    """
    rest, taken = {**data}, dict[str, Any]()
    for path in personal:
        name, _, inner = path.partition(".")
        value = rest.get(name)
        if value is None:
            continue
        if not inner:
            taken[name] = rest.pop(name)
        elif isinstance(value, dict):
            rest[name], below = split(value, (inner,))
            if below:
                taken[name] = {**taken.get(name, {}), **below}
    return rest, taken


def joined(data: dict[str, Any], taken: dict[str, Any]) -> dict[str, Any]:
    """What was split, whole again. Neither argument is changed."""
    return autofill(data, taken)

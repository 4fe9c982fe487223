"""What the server-rendered pages say, in one place for translation: a module for each group of pages."""

from keyfold.web.texts import (
    console,
    console_audit,
    console_keys,
    console_narrow,
    console_proof,
    integrations,
    partners,
    portal,
    topics,
)

TEXTS: dict[str, str] = {
    **portal.TEXTS,
    **console.TEXTS,
    **integrations.TEXTS,
    **partners.TEXTS,
    **topics.TEXTS,
    **console_keys.TEXTS,
    **console_narrow.TEXTS,
    **console_audit.TEXTS,
    **console_proof.TEXTS,
}
"""By page, a dot, and the place on it."""


def t(name: str, /, **values: object) -> str:
    """The text of this name, with its `{places}` filled in. Raises `KeyError`."""
    return TEXTS[name].format(**values) if values else TEXTS[name]


def has(name: str) -> bool:
    """Whether there is a text of this name."""
    return name in TEXTS

"""A topic of the catalogue as forms: its fields are written from what is kept, and read back into the API's bodies."""

from typing import Any

import msgspec

from keyfold.app.topic_views import TopicView
from keyfold.domain.refusals import Invalid
from keyfold.domain.topic_entry import AddSchema, Direction, Topic, TopicTerms
from keyfold.web.console.rule_form import Fields
from keyfold.web.v1.patching import decoded
from keyfold.web.v1.topics import SchemaBody, TopicBody, TopicDocument

FIELDS = ("name", "description", "direction", "examples", "deprecated", "schema", "compatibility")
DIRECTIONS: tuple[Direction, ...] = ("both", "send", "receive")
Texts = dict[str, str]
BLANK: Texts = dict.fromkeys(FIELDS, "") | {"direction": "both"}


def texts_of(topic: Topic) -> Texts:
    """The fields of what is kept, the newest schema among them."""
    terms = topic.terms
    return BLANK | {
        "name": topic.name,
        "description": terms.description,
        "direction": terms.direction,
        "examples": pretty(terms.examples) if terms.examples else "",
        "deprecated": "yes" if terms.deprecated else "",
        "schema": pretty(topic.newest.schema) if topic.newest else "",
    }


def texts_sent(given: Fields) -> Texts:
    """The fields as somebody sent them."""
    return {name: given.get(name, [""])[-1].replace("\r\n", "\n") for name in FIELDS}


def body_of(given: Fields) -> TopicBody:
    """A new topic. Raises `Invalid`, or `ValidationException` as the API does."""
    sent = texts_sent(given)
    schema = sent["schema"].strip()
    document = _terms(sent) | {"name": sent["name"].strip(), "schema": parsed("/schema", schema) if schema else None}
    return decoded(TopicBody, document)


def terms_of(given: Fields) -> TopicTerms:
    """What a change asks for. Raises the same."""
    return decoded(TopicDocument, _terms(texts_sent(given))).terms()


def schema_of(given: Fields, topic: Topic) -> AddSchema:
    """A new version; examples that are as they were stay what they are. Raises the same."""
    sent = texts_sent(given)
    examples = _examples(sent)
    asked = {"schema": parsed("/schema", sent["schema"]), "compatibility": sent["compatibility"] or "backward"}
    # as JSON: Python takes true for 1
    same = msgspec.json.encode(examples) == msgspec.json.encode(topic.terms.examples)
    body = decoded(SchemaBody, asked if same else asked | {"examples": examples})
    return AddSchema(body.schema, body.compatibility, body.examples)


def parsed(place: str, text: str) -> Any:
    """Raises `Invalid`, naming the place."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Invalid("This is no JSON.", (place, f"{error}.")) from None


def pretty(value: object) -> str:
    """JSON to be read and edited."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def versions(view: TopicView) -> list[tuple[Any, str]]:
    """All versions of the schema with their text, the newest first."""
    return [(each, pretty(each.schema)) for each in reversed(view.schemas)]


def _terms(sent: Texts) -> dict[str, Any]:
    return {
        "description": sent["description"].strip(),
        "direction": sent["direction"],
        "examples": _examples(sent),
        "deprecated": bool(sent["deprecated"]),
    }


def _examples(sent: Texts) -> Any:
    return parsed("/examples", sent["examples"]) if sent["examples"].strip() else []

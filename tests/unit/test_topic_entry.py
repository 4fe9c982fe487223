"""The topic of a catalogue: described, changed, given versions of a schema that keep what was promised, withdrawn."""

from typing import Any

import pytest

from keyfold.domain import integration, topic_entry
from keyfold.domain.integration import (
    TOPICS,
    Integration,
    IntegrationTopicAdded,
    IntegrationTopicRemoved,
    Terms,
    TooManyTopics,
    TopicTaken,
)
from keyfold.domain.refusals import Invalid
from keyfold.domain.topic_entry import (
    VERSIONS,
    AddSchema,
    SchemaIncompatible,
    SchemaVersion,
    TooManySchemas,
    Topic,
    TopicChanged,
    TopicDescribed,
    TopicGone,
    TopicSchemaAdded,
    TopicTerms,
    TopicWithdrawn,
    WithdrawTopic,
)

from .given import NOW, given, making

THIS: dict[str, Any] = {"workspace_id": "ws_1", "topic_id": "top_1", "integration_id": "int_1"}
TERMS = TopicTerms(description="Came in", direction="send", examples=({"a": 1},))
ONE: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
WIDER: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "number"}}}
DESCRIBED = TopicDescribed(name="app/order/created", terms=TERMS, **THIS)
FIRST = TopicSchemaAdded(version=1, schema=ONE, **THIS)
WITHDRAWN = TopicWithdrawn(**THIS)
SHOP = Integration("int_1", "ws_1", Terms(name="Shop"))


def describe(name: str = "app/order/created", terms: TopicTerms = TERMS, schema: Any = None) -> Any:
    return making(topic_entry.describe, "top_1", "ws_1", "int_1", name, terms, schema)


def test_a_topic_is_described_with_the_first_version_of_its_schema_or_without() -> None:
    describe().then([DESCRIBED])
    describe(schema=ONE).then([DESCRIBED, FIRST])
    topic = given(topic_entry, [DESCRIBED, FIRST]).state
    assert topic == Topic("top_1", "ws_1", "int_1", "app/order/created", TERMS, (SchemaVersion(1, ONE, NOW),))
    assert topic.newest == topic.schemas[0]
    assert given(topic_entry, [DESCRIBED]).state.newest is None


def test_what_a_topic_cant_be_is_said_at_once() -> None:
    wrong = TopicTerms(description="\0", examples=("x" * 16_384,))
    describe("app//x", wrong, {"type": "object", "nope": 1}).then_refused(
        Invalid, "/name", "/description", "/examples", "/schema/nope"
    )
    describe("app/*").then_refused(Invalid, "/name")
    describe(terms=TopicTerms(examples=(1,) * 21)).then_refused(Invalid, "/examples")
    describe(terms=TopicTerms(examples=({"a": [2**70]},))).then_refused(Invalid, "/examples/0/a/0")
    describe(terms=TopicTerms(examples=("x" * 16_380,))).then(
        [TopicDescribed(name="app/order/created", terms=TopicTerms(examples=("x" * 16_380,)), **THIS)]
    )


def test_a_topic_is_changed_with_before_and_after() -> None:
    other = TopicTerms(deprecated=True)
    given(topic_entry, [DESCRIBED]).when(other).then([TopicChanged(before=TERMS, after=other, **THIS)])
    given(topic_entry, [DESCRIBED]).when(TERMS).then_nothing()
    given(topic_entry, [DESCRIBED]).when(TopicTerms(description="\0")).then_refused(Invalid, "/description")
    true = TopicTerms(description="Came in", direction="send", examples=({"a": True},))
    given(topic_entry, [DESCRIBED]).when(true).then([TopicChanged(before=TERMS, after=true, **THIS)])


def test_a_version_accepts_what_the_one_before_accepted_unless_no_promise_is_asked_for() -> None:
    has = [DESCRIBED, FIRST]
    given(topic_entry, has).when(AddSchema(WIDER)).then([TopicSchemaAdded(version=2, schema=WIDER, **THIS)])
    given(topic_entry, has).when(AddSchema(ONE)).then_nothing()
    second = TopicSchemaAdded(version=2, schema=WIDER, **THIS)
    given(topic_entry, [*has, second]).when(AddSchema(ONE)).then_refused(
        SchemaIncompatible, "/schema/properties/a/type"
    )
    given(topic_entry, [*has, second]).when(AddSchema(ONE, "none")).then(
        [TopicSchemaAdded(version=3, schema=ONE, compatibility="none", **THIS)]
    )
    given(topic_entry, [DESCRIBED]).when(AddSchema(ONE)).then([FIRST])


def test_the_examples_that_a_version_leaves_behind_are_replaced_with_it() -> None:
    after = TopicTerms(description="Came in", direction="send", examples=(5,))
    given(topic_entry, [DESCRIBED, FIRST]).when(AddSchema({"type": "integer"}, "none", (5,))).then(
        [
            TopicChanged(before=TERMS, after=after, **THIS),
            TopicSchemaAdded(version=2, schema={"type": "integer"}, compatibility="none", **THIS),
        ]
    )


def test_a_topic_has_so_many_versions_and_no_more() -> None:
    many = [TopicSchemaAdded(version=n, schema={"maxLength": n}, **THIS) for n in range(1, VERSIONS + 1)]
    given(topic_entry, [DESCRIBED, *many[:-1]]).when(AddSchema({"maxLength": VERSIONS})).then([many[-1]])
    given(topic_entry, [DESCRIBED, *many]).when(AddSchema({})).then_refused(TooManySchemas)
    large = [TopicSchemaAdded(version=n, schema={"description": f"{n}{'x' * 32_000}"}, **THIS) for n in range(1, 5)]
    given(topic_entry, [DESCRIBED, *large]).when(AddSchema({"description": "x" * 5_000})).then_refused(TooManySchemas)
    given(topic_entry, [DESCRIBED]).when(AddSchema({"title": "x" * 32_768})).then_refused(Invalid, "/schema")


def test_a_topic_is_withdrawn_once_and_for_good() -> None:
    given(topic_entry, [DESCRIBED]).when(WithdrawTopic()).then([WITHDRAWN])
    given(topic_entry, [DESCRIBED, WITHDRAWN]).when(WithdrawTopic()).then_nothing()
    for command in (TERMS, AddSchema(ONE)):
        given(topic_entry, [DESCRIBED, WITHDRAWN]).when(command).then_refused(TopicGone)


@pytest.mark.parametrize("event", [FIRST, WITHDRAWN, TopicChanged(before=TERMS, after=TERMS, **THIS)])
def test_a_history_without_its_beginning_is_no_history(event: Any) -> None:
    with pytest.raises(ValueError, match="before the topic was described"):
        topic_entry.evolve(None, event, NOW)


def test_the_integration_knows_its_topics_by_name_each_once() -> None:
    added = IntegrationTopicAdded(workspace_id="ws_1", integration_id="int_1", topic="a/b", topic_id="top_1")
    making(integration.add_topic, SHOP, "a/b", "top_1").then([added])
    with_one = integration.evolve(SHOP, added, NOW)
    assert with_one.topics == {"a/b": "top_1"}
    making(integration.add_topic, with_one, "a/b", "top_2").then_refused(TopicTaken)
    making(integration.remove_topic, with_one, "a/b", "top_2").then_nothing()
    removed = IntegrationTopicRemoved(workspace_id="ws_1", integration_id="int_1", topic="a/b", topic_id="top_1")
    making(integration.remove_topic, with_one, "a/b", "top_1").then([removed])
    assert integration.evolve(with_one, removed, NOW) == SHOP


def test_an_integration_has_so_many_topics_and_no_more() -> None:
    full = Integration("int_1", "ws_1", Terms(name="Shop"), topics={f"a/{n}": f"top_{n}" for n in range(TOPICS)})
    making(integration.add_topic, full, "b", "top_b").then_refused(TooManyTopics)

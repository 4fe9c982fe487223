"""The topics of an integration's catalogue: described, changed, given schemas, withdrawn."""

from typing import Any

from keyfold.app.access import Caller
from keyfold.app.schemas import Judge, SchemaViolation, example_faults
from keyfold.app.topic_views import CheckView, TopicView
from keyfold.app.work import Answer, Office, Work, demand_version
from keyfold.domain import integration, topic_entry
from keyfold.domain.aggregates import INTEGRATION, TOPIC
from keyfold.domain.refusals import Forbidden
from keyfold.domain.topic_entry import AddSchema, Schema, Topic, TopicTerms, WithdrawTopic


class Topics:
    """Whoever changes an integration changes its catalogue: all of its partners live by it."""

    def __init__(self, office: Office) -> None:
        self._office = office

    async def describe(
        self, caller: Caller, integration_id: str, name: str, wanted: TopicTerms, schema: Schema | None
    ) -> Answer[TopicView]:
        """A new topic. Its name is taken in the same append, so that two are never called the same."""
        judge = None if schema is None else Judge(schema)

        async def command(work: Work) -> TopicView:
            of = await work.load(INTEGRATION, integration_id)
            caller.demand_sight(INTEGRATION.word, of)
            _demand_whole(caller)
            topic_id = work.new_id(TOPIC.prefix)
            events = topic_entry.describe(topic_id, caller.workspace_id, of.id, name, wanted, schema)
            _demand_examples(judge, wanted.examples)
            work.append(INTEGRATION, of.id, integration.add_topic(of, name, topic_id))
            made = work.append(TOPIC, topic_id, events, because=work.newest(of.id))
            return TopicView.of(made, work.now)

        return await self._office.carry_out(caller.cause, TopicView, command)

    async def change(self, caller: Caller, of: str, wanted: TopicTerms, *, version: int) -> Answer[TopicView]:
        async def command(work: Work) -> TopicView:
            this = await _loaded(work, caller, of)
            demand_version(work, of, version)
            events = topic_entry.decide(this, wanted)
            if this.newest is not None and events:
                _demand_examples(Judge(this.newest.schema), wanted.examples)
            return TopicView.of(work.append(TOPIC, of, events), work.now)

        return await self._office.carry_out(caller.cause, TopicView, command)

    async def add_schema(self, caller: Caller, of: str, wanted: AddSchema) -> Answer[TopicView]:
        """Events are held to it from now on."""
        judge = Judge(wanted.schema)  # only what is a schema is compared with another

        async def command(work: Work) -> TopicView:
            this = await _loaded(work, caller, of)
            events = topic_entry.decide(this, wanted)
            _demand_examples(judge, this.terms.examples if wanted.examples is None else wanted.examples)
            return TopicView.of(work.append(TOPIC, of, events), work.now)

        return await self._office.carry_out(caller.cause, TopicView, command)

    async def withdraw(self, caller: Caller, of: str) -> Answer[TopicView]:
        """Its name is free again, and events on it are held to no schema."""

        async def command(work: Work) -> TopicView:
            this = await _loaded(work, caller, of)
            its = await work.load(INTEGRATION, this.integration_id)
            work.append(INTEGRATION, its.id, integration.remove_topic(its, this.name, of))
            withdrawn = topic_entry.decide(this, WithdrawTopic())
            return TopicView.of(work.append(TOPIC, of, withdrawn, because=work.newest(its.id)), work.now)

        return await self._office.carry_out(caller.cause, TopicView, command)


def check(topic: Topic, schema: Schema | None, examples: tuple[Any, ...]) -> CheckView:
    """What would come of a new version, or of events like these, with nothing done. Raises `Invalid`."""
    newest = topic.newest
    judged = newest.schema if schema is None and newest is not None else schema
    violations = [] if judged is None else example_faults(Judge(judged), examples)
    against = [] if schema is None else topic_entry.places(newest, schema)
    return CheckView.of(
        compatible=None if schema is None else not against, valid=not violations, faults=[*against, *violations]
    )


async def _loaded(work: Work, caller: Caller, of: str) -> Topic:
    this = await work.load(TOPIC, of)
    caller.demand_sight(TOPIC.word, this)
    _demand_whole(caller)
    return this


def _demand_whole(caller: Caller) -> None:
    if caller.conditions.partners is not None or caller.conditions.environments is not None:
        raise Forbidden("A key that is narrowed to partners or environments can't change what others live by.")


def _demand_examples(judge: Judge | None, examples: tuple[Any, ...]) -> None:
    """That the examples are as the schema says, where there is one."""
    if judge is not None and (faults := example_faults(judge, examples)):
        raise SchemaViolation.of("The examples under the topic's schema", faults)

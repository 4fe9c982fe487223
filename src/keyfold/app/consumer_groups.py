"""Consumer groups: made and removed with a service key, within what it may receive itself."""

from datetime import datetime

from keyfold.app.memory import Known
from keyfold.app.views import View
from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain.aggregates import PARTNER
from keyfold.domain.ceilings import ExceedsCeiling, rule_faults
from keyfold.domain.consumer_group import Group, is_group_name
from keyfold.domain.filters import Filter
from keyfold.domain.partner import AddConsumer, RemoveConsumer, decide
from keyfold.domain.permissions import Environment
from keyfold.domain.reach import beyond
from keyfold.domain.refusals import Invalid, NotFound
from keyfold.domain.rule import History, Options, Receive, Rule


class GroupView(View, frozen=True, kw_only=True):
    """A consumer group as it was made. `start` is the time of its first event, null the earliest within `history`."""

    name: str
    environment: Environment
    topics: tuple[str, ...]
    filters: tuple[Filter, ...]
    history: History
    start: datetime | None

    @classmethod
    def of(cls, group: Group) -> "GroupView":
        receive = group.receive
        return cls(
            name=group.name,
            environment=group.environment,
            topics=receive.topics,
            filters=receive.filters,
            history=receive.history,
            start=group.start,
        )


class ConsumerGroups:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def add(
        self, cause: Cause, known: Known, name: str, receive: Receive, start: datetime | None
    ) -> Answer[GroupView]:
        """Raises `Invalid`, `ExceedsCeiling` naming what goes beyond the key, `ConsumerTaken`, `TooManyConsumers`."""
        if not is_group_name(name):
            raise Invalid("A consumer needs a name.", ("/name", "Give 1 to 32 of a-z, 0-9 and -, and not own."))
        rule = Rule(("receive",), Options(receive=receive))
        if faults := [(_short(pointer), detail) for pointer, detail in rule_faults("", rule)]:
            raise Invalid("The consumer can't be kept like this.", *faults)
        if excess := beyond(receive, known.subject):
            raise ExceedsCeiling("A consumer receives what its key may receive, or less.", *excess)

        async def command(work: Work) -> GroupView:
            partner_id, environment = _place(known, name)
            group = Group(environment, name, receive, work.now, start)
            partner = await work.load(PARTNER, partner_id)
            work.append(PARTNER, partner_id, decide(partner, AddConsumer(group)))
            return GroupView.of(group)

        return await self._office.carry_out(cause, GroupView, command)

    async def remove(self, cause: Cause, known: Known, name: str) -> Answer[GroupView]:
        """Raises `NotFound`."""

        async def command(work: Work) -> GroupView:
            partner_id, environment = _place(known, name)
            partner = await work.load(PARTNER, partner_id)
            found = [each for each in partner.consumers if (each.environment, each.name) == (environment, name)]
            work.append(PARTNER, partner_id, decide(partner, RemoveConsumer(environment, name)))
            return GroupView.of(found[0])

        return await self._office.carry_out(cause, GroupView, command)


def _place(known: Known, name: str) -> tuple[str, Environment]:
    key = known.subject.key
    if key.partner_id is None or key.environment is None:
        raise NotFound.of("consumer", name)
    return key.partner_id, key.environment


def _short(pointer: str) -> str:
    return pointer.removeprefix("/options/receive")

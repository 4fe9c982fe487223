"""Given what happened, when somebody asks for this, then that happens: the whole language of the domain's tests.

    given(link, [ISSUED]).when(WithdrawLink("sent to the wrong one"), NOW).then([LinkWithdrawn(…)])
    making(link.issue, IssueLink(…)).then([LinkIssued(…)])

A module is one of `keyfold.domain`: `evolve(state, event, at)` folds, `decide(state, command, …)` decides.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from keyfold.domain.record import Event
from keyfold.domain.refusals import Refusal

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Outcome:
    """What came of it: events, or a refusal."""

    def __init__(self, decision: Callable[[], Sequence[Event]]) -> None:
        self._decision = decision

    def then(self, events: Sequence[Event]) -> None:
        assert list(self._decision()) == list(events)

    def then_nothing(self) -> None:
        self.then([])

    def then_refused(self, refusal: type[Refusal], *pointers: str) -> None:
        """Refused with this type exactly, naming these fields and no others."""
        with pytest.raises(refusal) as refused:
            self._decision()
        assert type(refused.value) is refusal
        assert [pointer for pointer, _ in refused.value.fields] == list(pointers)


class Given:
    def __init__(self, module: Any, events: Sequence[Event], at: datetime) -> None:
        self._module = module
        self.state: Any = None
        for event in events:
            self.state = module.evolve(self.state, event, at)

    def when(self, command: Any, *more: Any) -> Outcome:
        return Outcome(lambda: self._module.decide(self.state, command, *more))


def given(module: Any, events: Sequence[Event], *, at: datetime = NOW) -> Given:
    return Given(module, events, at)


def making(make: Callable[..., Sequence[Event]], *arguments: Any, **named: Any) -> Outcome:
    """The beginning of a stream, when there is no state to decide from."""
    return Outcome(lambda: make(*arguments, **named))

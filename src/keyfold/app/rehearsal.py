"""A command as if: decided on what there is, with every refusal that it would meet, and nothing written."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from keyfold.app.work import Answer, Cause, Office, Work
from keyfold.domain.refusals import Refusal

V = TypeVar("V", bound=msgspec.Struct)


class Rehearsal(Office):
    """The office for one command: `appends` is whether that has, or would have, anything to write down. With `writes`
    it does write. `refusal` is raised in the place of whatever it would do now, and not of what it did before, when
    the same request came."""

    def __init__(self, office: Office, *, writes: bool = False, refusal: Refusal | None = None) -> None:
        super().__init__(
            journal=office.journal,
            vault=office.vault,
            sealing=office.sealing,
            clock=office.clock,
            entropy=office.entropy,
        )
        self.appends = False
        self._writes = writes
        self._refusal = refusal

    async def carry_out(self, cause: Cause, kind: type[V], command: Callable[[Work], Awaitable[V]]) -> Answer[V]:
        async def witnessed(work: Work) -> V:
            if self._refusal is not None:
                raise self._refusal
            view = await command(work)
            self.appends = bool((await work.written(view)).entries)
            return view

        if self._writes:
            return await super().carry_out(cause, kind, witnessed)
        return Answer(view=await witnessed(Work(self, cause)), position=0)

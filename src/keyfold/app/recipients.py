"""The partners that events may be sent to by name."""

import asyncio
from collections.abc import Iterable

from keyfold.app.memory import Hears
from keyfold.app.ports import Journal
from keyfold.app.recollection import Recollection
from keyfold.domain.aggregates import PARTNER
from keyfold.domain.refusals import Refusal

CAPACITY = 50_000
"""Partners that are remembered."""


class UnknownRecipient(Refusal):
    code, status, title = "unknown-recipient", 422, "There is no such partner to send to"


class Recipients:
    """Remembers which partners are there, and whose they are."""

    def __init__(self, journal: Journal, hears: Hears) -> None:
        self._journal = journal
        self._workspaces: Recollection[str] = Recollection(hears, CAPACITY)

    async def demand(self, workspace_id: str, partner_ids: Iterable[str]) -> None:
        """That each is a partner of the workspace that hasn't been offboarded. Raises `UnknownRecipient`,
        `Unavailable`."""
        asked = [*partner_ids]
        found = await asyncio.gather(*[self._workspace_of(each) for each in asked])
        unknown = [each for each, workspace in zip(asked, found, strict=True) if workspace != workspace_id]
        if unknown:
            raise UnknownRecipient(
                f"In this workspace there is no partner {', '.join(unknown)}, or not any more. Nothing was sent.",
                ("/to", "Name partners of this workspace."),
            )

    def forget(self, streams: Iterable[str]) -> None:
        """These have moved."""
        self._workspaces.forget(each for each in streams if each.startswith(PARTNER.prefix))

    async def _workspace_of(self, partner_id: str) -> str | None:
        """Whose partner it is, None when there is no such partner any more."""
        remembered = self._workspaces.find(partner_id)
        if remembered is not None:
            return remembered
        mark = self._workspaces.mark()
        partner = (await self._journal.load(PARTNER, partner_id)).state
        if partner is None or partner.status == "offboarded":
            return None
        self._workspaces.keep(partner_id, partner.workspace_id, mark)
        return partner.workspace_id

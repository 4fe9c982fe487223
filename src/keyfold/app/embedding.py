"""Which sites may embed the portal of an integration."""

from keyfold.app.ports import Journal
from keyfold.domain import ids
from keyfold.domain.aggregates import INTEGRATION
from keyfold.domain.origins import frame_ancestors


class Embedding:
    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def origins(self, integration_id: str) -> tuple[str, ...]:
        """Those that the integration names; none of one that doesn't exist. Raises `Unavailable`."""
        if not ids.is_id(INTEGRATION.prefix, integration_id):
            return ()
        integration = (await self._journal.load(INTEGRATION, integration_id)).state
        return integration.terms.origins if integration is not None else ()

    async def frame_ancestors(self, integration_id: str) -> str:
        """The value of `frame-ancestors` for a page that has the portal of this integration. Raises `Unavailable`."""
        return frame_ancestors(await self.origins(integration_id))

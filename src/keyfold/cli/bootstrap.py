"""Workspaces are founded by the operator: the first one by `keyfold up`, any other by `keyfold workspaces create`."""

import msgspec

from keyfold.domain.aggregates import WORKSPACE
from keyfold.domain.ids import is_id
from keyfold.domain.refusals import NotFound
from keyfold.settings import Settings
from keyfold.store.postgres import Postgres
from keyfold.store.queries import query


class Bootstrap(msgspec.Struct, frozen=True, rename="camel"):
    """A new workspace. The keys are shown once and stored nowhere."""

    workspace_id: str
    integration_id: str
    integration_key: str
    account_key: str

    def __repr__(self) -> str:
        return f"Bootstrap({self.workspace_id})"


async def bootstrap(settings: Settings, name: str = "First workspace", integration: str = "Events") -> Bootstrap:
    """Founds a workspace with an integration, in one transaction."""
    from keyfold.cli.operator import cause, operating  # noqa: PLC0415  # heavy: only the first start needs it
    from keyfold.domain.integration import Presentation, Terms  # noqa: PLC0415

    async with operating(settings) as services:
        wanted = Terms(name=integration, presentation=Presentation("Send and receive our events."))
        founded = (await services.workspaces.found(cause(services), name, wanted)).view
        return Bootstrap(
            workspace_id=founded.workspace_id,
            integration_id=founded.integration.id,
            integration_key=founded.integration_key.secret,
            account_key=founded.account_key.secret,
        )


async def the_workspace(settings: Settings, workspace_id: str | None) -> str:
    """The id of the workspace that is meant: the first one if none is named. Raises `NotFound` before anything is
    written for one that there isn't."""
    from keyfold.cli.operator import operating  # noqa: PLC0415  # heavy

    if workspace_id is None:
        if (first := await first_workspace(settings)) is None:
            raise NotFound("There is no workspace yet.")
        return first[0]
    async with operating(settings) as services:
        known = is_id(WORKSPACE.prefix, workspace_id) and (await services.journal.load(WORKSPACE, workspace_id)).state
        if not known:
            raise NotFound(f"There is no workspace {workspace_id}.")
    return workspace_id


async def first_workspace(settings: Settings) -> tuple[str, str] | None:
    """The ids of the workspace that the log begins with, and of its first integration. None: the log is empty."""
    postgres = Postgres(settings.database_url, name="keyfold up", size=1)
    await postgres.open()
    try:
        streams = [row["stream"] for row in await postgres.fetch(query("read_after"), 0, 2)]
    finally:
        await postgres.close()
    return (streams[0], streams[1]) if len(streams) == 2 else None

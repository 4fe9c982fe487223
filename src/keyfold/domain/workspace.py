"""The workspace: the tenant that everything belongs to."""

from datetime import datetime
from typing import Literal

import msgspec

from keyfold.domain.record import Event


class WorkspaceCreated(Event, frozen=True, kw_only=True):
    type = "workspace.created.v1"

    name: str


class Workspace(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    name: str
    status: Literal["active"] = "active"

    @property
    def workspace_id(self) -> str:
        return self.id


def create(workspace_id: str, name: str) -> list[WorkspaceCreated]:
    return [WorkspaceCreated(workspace_id=workspace_id, name=name)]


def evolve(state: Workspace | None, event: WorkspaceCreated, at: datetime) -> Workspace:
    return Workspace(id=event.workspace_id, name=event.name)

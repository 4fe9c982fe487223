"""Which keys are owners' is kept in the workspace's stream, so that no two commands can remove the last two at once."""

from keyfold.app.work import Work
from keyfold.domain import workspace
from keyfold.domain.aggregates import WORKSPACE
from keyfold.domain.key_state import USABLE, Key


async def keep_owners(work: Work, before: Key | None, after: Key) -> None:
    """Notes that a key has become an owner's, or is none any more. Raises `LastOwner`."""
    was, now = before is not None and _counts(before, work), _counts(after, work)
    if was == now:
        return
    this = await work.load(WORKSPACE, after.workspace_id)
    command = workspace.AddOwner(after.id) if now else workspace.RemoveOwner(after.id)
    work.append(WORKSPACE, this.id, workspace.decide(this, command), because=work.newest(after.id))


def _counts(key: Key, work: Work) -> bool:
    """Whether it is an owner's key that can be used now and won't come to an end by itself."""
    can_stay = key.expires_at is None and key.succession is None
    return key.document.role == "owner" and can_stay and key.status_at(work.now) in USABLE

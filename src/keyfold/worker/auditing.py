"""The loops that make the log provable, as the settings want them: the tree, and one for each witness."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from keyfold.audit.signing import Signer
from keyfold.bus.connection import Bus
from keyfold.bus.lifecycle import LifecycleStream
from keyfold.settings import Settings, SettingsError
from keyfold.store.postgres import Postgres
from keyfold.store.tree import TreeStore
from keyfold.worker.leader import Leader
from keyfold.worker.loop import Loop
from keyfold.worker.publishing import Publishing
from keyfold.worker.tree import TreeGrower

if TYPE_CHECKING:
    from keyfold.audit.witness import Witness
    from keyfold.worker.witnesses import Asker


def auditing_loops(
    settings: Settings, postgres: Postgres, bus: Bus, stream: LifecycleStream, leader: Callable[[str], Leader]
) -> list[Loop]:
    """Raises `SettingsError`."""
    store = TreeStore(postgres)
    publishing = Publishing(bus, settings.checkpoint_file)
    grower = TreeGrower(store, stream, signers_of(settings), publishing, settings.checkpoint_seconds)
    askers = _askers(settings, store) if settings.witnesses.strip() else {}
    return [
        Loop("tree", step=grower.step, every=0.2, leader=leader("tree")),
        *[Loop(name, step=asker.step, every=0.2, leader=leader(name)) for name, asker in askers.items()],
    ]


def _askers(settings: Settings, store: TreeStore) -> "dict[str, Asker]":
    from keyfold.worker.witnesses import Asker  # noqa: PLC0415 - an HTTP client, which few workers need

    return {f"witness {each.name}": Asker(store, each) for each in witnesses_of(settings)}


def signers_of(settings: Settings) -> list[Signer]:
    """The log's keys, the newest first; none where none is set. Raises `SettingsError`."""
    given = settings.log_keys.reveal.decode() if settings.log_keys else ""
    try:
        signers = [Signer.parse(each.strip()) for each in given.split(",") if given]
    except ValueError:
        raise SettingsError(
            "KEYFOLD_LOG_KEYS can't be read: it takes PRIVATE+KEY+…, as `keyfold audit keygen` makes it, the newest "
            "first and separated by commas."
        ) from None
    if len({each.name for each in signers}) > 1:
        raise SettingsError("KEYFOLD_LOG_KEYS has keys of several names: a log has one name for ever.")
    return signers


def witnesses_of(settings: Settings) -> "list[Witness]":
    """Raises `SettingsError`."""
    from keyfold.audit.witness import Witness  # noqa: PLC0415

    try:
        found = [Witness.parse(each) for each in settings.witnesses.split(",") if settings.witnesses.strip()]
    except ValueError:
        raise SettingsError(
            "KEYFOLD_WITNESSES can't be read: it takes <verifier key> <url> of each, separated by commas."
        ) from None
    if len({each.name for each in found}) < len(found):
        raise SettingsError("KEYFOLD_WITNESSES has two witnesses of the same name.")
    return found

"""How things are named in what is searched by: an id of another kind would find nothing, and look like an answer."""

from typing import Any

from keyfold.domain.aggregates import AGGREGATES, INTEGRATION, KEY, PARTNER, Aggregate
from keyfold.domain.ids import is_id
from keyfold.domain.refusals import Invalid
from keyfold.store.trail_filter import TrailFilter

_NAMED: dict[str, Aggregate[Any]] = {"partnerId": PARTNER, "keyId": KEY, "integrationId": INTEGRATION}


def demand_ids(**given: str | None) -> None:
    """That `partnerId`, `keyId` and `integrationId` may be what they are called. Raises `Invalid`, naming one."""
    for name, text in given.items():
        aggregate = _NAMED[name]
        if text is not None and not is_id(aggregate.prefix, text):
            raise Invalid(f"This is not the id of any {aggregate.word}.", (f"?{name}", _such_as(aggregate.prefix)))


def demand_ids_of(wanted: TrailFilter) -> None:
    """The same for all that the trail is searched by."""
    demand_ids(partnerId=wanted.partner_id, keyId=wanted.key_id, integrationId=wanted.integration_id)
    prefix = (wanted.resource_id or "").partition("_")[0]
    if wanted.resource_id is not None and not (prefix in AGGREGATES and is_id(prefix, wanted.resource_id)):
        kinds = ", ".join(f"{each}_…" for each in AGGREGATES)
        raise Invalid("This is the id of nothing.", ("?resourceId", f"The ids of things are {kinds}."))
    if wanted.causation_id is not None and not is_id("evt", wanted.causation_id):
        raise Invalid("This is not the id of any event.", ("?causationId", _such_as("evt")))
    for name, text in (("actorId", wanted.actor_id), ("correlationId", wanted.correlation_id)):
        if text == "":
            raise Invalid("This names nobody and nothing.", (f"?{name}", "Leave it out, or say what is meant."))


def _such_as(prefix: str) -> str:
    return f"Such as {prefix}_01h455vb4pex5vsknk084sn02q."

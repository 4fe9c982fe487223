"""What the audit trail can be searched by, as conditions on the projection."""

from datetime import datetime
from typing import Literal

import msgspec

from keyfold.domain.networks import bounds
from keyfold.domain.permissions import Environment

ActorKind = Literal["key", "portal", "operator", "system"]
OF_ENVIRONMENTS = (
    "EXISTS (SELECT FROM projections.keys WHERE keys.id = audit.key_id AND keys.environment = ANY ($?::text[]))"
)


class TrailFilter(msgspec.Struct, frozen=True, kw_only=True):
    """All of it must hold; what is None says nothing.

    `types` are whole types, `address` an address or a network, `until` a time, which isn't included, and
    `until_position` a position, which is.
    """

    partner_id: str | None = None
    key_id: str | None = None
    integration_id: str | None = None
    resource_id: str | None = None
    environment: Environment | None = None
    actor_id: str | None = None
    actor_kind: ActorKind | None = None
    address: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    types: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None
    after_position: int | None = None
    before_position: int | None = None
    until_position: int | None = None

    def conditions(self) -> dict[str, object]:
        """For `Lists`: expressions and their arguments. Raises `ValueError` for what is neither address nor network."""
        first, last = (None, None) if self.address is None else bounds(self.address)
        return {
            "integration_id = $?": self.integration_id,
            "partner_id = $?": self.partner_id,
            "key_id = $?": self.key_id,
            # by the log's own index of streams, in which all that happened to one thing lies together
            "of_stream = $?": self.resource_id,
            OF_ENVIRONMENTS: None if self.environment is None else [self.environment],
            "actor_id = $?": self.actor_id,
            "actor_kind = $?": self.actor_kind,
            "source = $?": first if first == last else None,
            "source >= $?": None if first == last else first,
            "source <= $?": None if first == last else last,
            "correlation_id = $?": self.correlation_id,
            "causation_id = $?": self.causation_id,
            **self._types(),
            "time >= $?": self.since,
            "time < $?": self.until,
            "position > $?": self.after_position,
            "position < $? ": self.before_position,
            "position <= $?": self.until_position,
        }

    def given(self) -> dict[str, str]:
        """What was asked for, to be written down: all but an address, which would be somebody's for ever."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        found = {name: _text(value) for name, value in values.items() if value is not None}
        return found | ({"address": "not kept"} if "address" in found else {})

    def _types(self) -> dict[str, object]:
        if self.types is None or len(self.types) != 1:
            return {"type = ANY ($?::text[])": None if self.types is None else [*self.types]}
        return {"type = $?": self.types[0]}


def _text(value: object) -> str:
    match value:
        case tuple():
            return ",".join(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)

"""What clients send of a key, and of what a key may do."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from keyfold.app.keys import NewKey, Sections
from keyfold.domain.filters import Filter
from keyfold.domain.key_document import TAG_LENGTH
from keyfold.domain.key_events import Document, KeyKind
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import Conditions, Environment
from keyfold.domain.rule import Action, Dataset, History, Operation, Options, Rule
from keyfold.web.v1.common import ONE_LINE, Body, Description, Name

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Tag = Annotated[str, msgspec.Meta(min_length=1, max_length=TAG_LENGTH, pattern=ONE_LINE)]
Network = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Names = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=200)], ...]
Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Patterns = Annotated[tuple[Pattern, ...], msgspec.Meta(min_length=1, max_length=100)]
Filters = tuple[Filter, ...]


class SendBody(Body, frozen=True, kw_only=True):
    """`autofill` is merged deeply into every event sent; its properties win over the sender's."""

    topics: Patterns | UnsetType | None = UNSET
    autofill: dict[str, Any] | UnsetType | None = UNSET


class ReceiveBody(Body, frozen=True, kw_only=True):
    """All `filters` must hold for an event to be received. `history` is which stored events may be read."""

    topics: Patterns | UnsetType | None = UNSET
    filters: Filters | UnsetType | None = UNSET
    history: History | UnsetType | None = UNSET


class QueriesBody(Body, frozen=True, kw_only=True):
    filters: Filters | UnsetType | None = UNSET


class SavedQueriesBody(Body, frozen=True, kw_only=True):
    allowed: Names | UnsetType | None = UNSET
    blocked: Names | UnsetType | None = UNSET
    filters: Filters | UnsetType | None = UNSET


class CachedQueriesBody(Body, frozen=True, kw_only=True):
    allowed: Names | UnsetType | None = UNSET
    blocked: Names | UnsetType | None = UNSET


class DatasetsBody(Body, frozen=True, kw_only=True):
    operations: tuple[Operation, ...] | UnsetType | None = UNSET
    allowed: dict[str, Dataset] | UnsetType | None = UNSET
    blocked: Names | UnsetType | None = UNSET


class OptionsBody(Body, frozen=True, kw_only=True):
    """The conditions of each action. What is left out is as it stands above: in the rule, or in the parent."""

    send: SendBody | UnsetType | None = UNSET
    receive: ReceiveBody | UnsetType | None = UNSET
    queries: QueriesBody | UnsetType | None = UNSET
    saved_queries: SavedQueriesBody | UnsetType | None = UNSET
    cached_queries: CachedQueriesBody | UnsetType | None = UNSET
    datasets: DatasetsBody | UnsetType | None = UNSET

    def asked(self) -> Sections:
        """What was given, by section and field."""
        return {
            name: {field: value for field in section.__struct_fields__ if _given(value := getattr(section, field))}
            for name in self.__struct_fields__
            if _given(section := getattr(self, name))
        }


class DelegateBody(Body, frozen=True, kw_only=True):
    """What is left out is as the key above has it."""

    name: Name | None = None
    purpose: Description | None = None
    tags: tuple[Tag, ...] = ()
    permitted: tuple[Action, ...] | None = None
    options: OptionsBody = OptionsBody()
    source_networks: tuple[Network, ...] | None = None
    not_before: Moment | None = None
    expires_at: Moment | None = None

    def new_key(self) -> NewKey:
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "options"}
        return NewKey(**fields, options=self.options.asked())


class KeyBody(DelegateBody, frozen=True, kw_only=True):
    """An account key needs `role`, an integration key `integrationId`, a service key `partnerId` and `environment`.

    A service key may have `permitted` and `options`, to get less than its integration's rule gives, and may leave out
    its `name`, to be named by the integration's policy. An account key may have `conditions`.
    """

    kind: KeyKind
    role: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    conditions: Conditions | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None


class KeyPatch(Body, frozen=True, kw_only=True):
    """A merge patch (RFC 7396): what is left out stays, `null` takes away. `isActive` suspends and reinstates."""

    name: Name | UnsetType = UNSET
    purpose: Description | UnsetType | None = UNSET
    tags: tuple[Tag, ...] | UnsetType | None = UNSET
    is_active: bool | UnsetType = UNSET
    role: Annotated[str, msgspec.Meta(max_length=64)] | UnsetType = UNSET
    conditions: dict[str, Any] | UnsetType | None = UNSET
    permitted: tuple[Action, ...] | UnsetType = UNSET
    options: OptionsBody | UnsetType = UNSET
    source_networks: tuple[Network, ...] | UnsetType | None = UNSET
    not_before: Moment | UnsetType | None = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class KeyDocumentBody(Body, frozen=True, kw_only=True):
    """The whole document, as a patch is merged into it."""

    name: Name
    purpose: Description | None = None
    tags: tuple[Tag, ...] = ()
    is_active: bool
    role: str | None = None
    conditions: Conditions | None = None
    permitted: tuple[Action, ...] = ()
    options: Options = Options()
    source_networks: tuple[Network, ...] = ()
    not_before: Moment | None = None
    expires_at: Moment | None = None

    @classmethod
    def of(cls, key: Key) -> "KeyDocumentBody":
        document = key.document
        fields = {name: getattr(document, name) for name in Document.__struct_fields__ if name != "rule"}
        rule = document.rule or Rule((), Options())
        return cls(is_active=key.status != "suspended", permitted=rule.permitted, options=rule.options, **fields)

    def document(self, of: Key) -> Document:
        fields = {name: getattr(self, name) for name in Document.__struct_fields__ if name != "rule"}
        has_rule = of.kind == "service" or self.permitted or self.options != Options()
        rule = Rule(tuple(dict.fromkeys(self.permitted)), self.options) if has_rule else None
        return Document(**fields, rule=rule)


def _given(value: object) -> bool:
    return value is not UNSET and value is not None

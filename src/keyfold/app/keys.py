"""Access keys come into being: issued by those who manage, delegated by those who hold one."""

from datetime import datetime
from typing import Any

import msgspec

from keyfold.app.access import Caller
from keyfold.app.owners import keep_owners
from keyfold.app.subjects import custom_role, permissions_of
from keyfold.app.views import IssuedKeyView
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import key, partner
from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER, ROLE
from keyfold.domain.ceilings import ExceedsCeiling, demand_sound
from keyfold.domain.ids import is_id
from keyfold.domain.integration import Integration
from keyfold.domain.key_ceiling import Ceiling, demand_below
from keyfold.domain.key_events import Document, KeyKind
from keyfold.domain.key_state import Key
from keyfold.domain.limits import NAME_LENGTH
from keyfold.domain.partner import Partner
from keyfold.domain.permissions import Conditions, Environment
from keyfold.domain.policy import Offer
from keyfold.domain.refusals import Forbidden, Invalid, Refusal
from keyfold.domain.role import RoleGone
from keyfold.domain.rule import Action, Rule

DEPTH = 2
"""How often a key can be handed on: a partner's to a contractor's, and that one once more."""
DELEGATES = 50
"""Live keys under one key."""
Sections = dict[str, dict[str, Any]]


class TooManyKeys(Refusal):
    code, status, title = "too-many-keys", 409, "Too many keys live"


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. An account key has a role, an integration key an integration, a service key a partner.

    `permitted` and `options` (by section and field) are what a service key shall have of what stands above it: its
    integration's rule, or its parent; left out, all of it. The same goes for the networks of a parent.
    """

    kind: KeyKind = "service"
    name: str | None = None
    purpose: str | None = None
    tags: tuple[str, ...] = ()
    role: str | None = None
    conditions: Conditions | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    permitted: tuple[Action, ...] | None = None
    options: Sections = {}
    source_networks: tuple[str, ...] | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None

    def document(self, **more: Any) -> Document:
        asked = {name: getattr(self, name) for name in Document.__struct_fields__ if name != "rule"}
        return Document(**asked | {"name": self.name or "", "source_networks": self.source_networks or ()} | more)

    def below(self, above: Ceiling, name: str) -> Document:
        """What isn't asked for is as it stands above. Raises `ExceedsCeiling`, `Invalid`."""
        rule = (above.rule or Rule()).with_asked(self.permitted, self.options)
        demand_sound(rule)
        document = self.document(
            name=name,
            rule=rule,
            source_networks=above.source_networks if self.source_networks is None else self.source_networks,
            expires_at=self.expires_at or above.expires_at,
        )
        demand_below(document, [above])
        return document


async def issue_key(work: Work, command: key.IssueKey, *, because: str | None = None) -> IssuedKeyView:
    """Appends a new key, and its secret's digest, to the work at hand. `because` is the id of the event behind it."""
    issued = work.append(KEY, command.key_id, key.issue(command, work.now), because=because)
    await keep_owners(work, None, issued)
    return IssuedKeyView.issued(issued, work.now, work.mint(command.mark, command.key_id))


class Keys:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def issue(self, caller: Caller, wanted: NewKey) -> Answer[IssuedKeyView]:
        """Issues a key of any kind. A partner's key gets what its integration's rule for the environment gives."""
        given = {"/permitted": wanted.permitted is not None, "/options": bool(wanted.options)}
        if wanted.kind != "service" and any(given.values()):
            extra = [(pointer, "Leave it out.") for pointer, is_given in given.items() if is_given]
            raise Invalid("Only a service key has permitted actions and options.", *extra)

        async def command(work: Work) -> IssuedKeyView:
            new = key.IssueKey(
                key_id=work.new_id("key"),
                workspace_id=caller.workspace_id,
                kind=wanted.kind,
                document=wanted.document(),
                integration_id=wanted.integration_id,
                partner_id=wanted.partner_id,
                environment=wanted.environment,
            )
            if wanted.partner_id is not None:
                new = await self._for_partner(work, caller, new, wanted)
            else:
                await self._demand_may_issue(work, caller, new)
            return await issue_key(work, new, because=wanted.partner_id and work.newest(wanted.partner_id))

        return await self._office.carry_out(caller.cause, IssuedKeyView, command)

    async def delegate(self, caller: Caller, parent_id: str, wanted: NewKey) -> Answer[IssuedKeyView]:
        """Issues a key under another: with its rule, networks and expiry, or less. It dies, suspends and narrows with
        its parent."""

        async def command(work: Work) -> IssuedKeyView:
            parent = await work.load(KEY, parent_id)
            caller.demand_sight(KEY.word, parent)
            if parent.kind != "service" or parent.document.rule is None:
                raise Invalid("Only a service key can be handed on in part.")
            if parent.depth >= DEPTH:
                raise TooManyKeys("This key was handed on already; it can't be handed on any further.")
            await _demand_room(work, parent.delegates, DELEGATES, "under this key")
            new_id = work.new_id("key")
            above = msgspec.structs.replace(Ceiling.of(parent.document), not_before=None)
            name = wanted.name or f"{parent.document.name} (part)"[:NAME_LENGTH]
            document = wanted.below(above, name)
            work.append(KEY, parent_id, key.decide(parent, key.Delegate(new_id), work.now))
            if parent.partner_id is not None:
                holder = await work.load(PARTNER, parent.partner_id)
                integration = await work.load(INTEGRATION, holder.integration_id)
                await _demand_room_of_partner(work, holder, integration, parent.environment)
                added = partner.decide(holder, partner.AddKey(new_id))
                work.append(PARTNER, holder.id, added, because=work.newest(parent_id))
            new = key.IssueKey(
                key_id=new_id,
                workspace_id=parent.workspace_id,
                kind="service",
                document=document,
                integration_id=parent.integration_id,
                partner_id=parent.partner_id,
                environment=parent.environment,
                upkeep=parent.upkeep,
                parent_id=parent_id,
                depth=parent.depth + 1,
            )
            return await issue_key(work, new, because=work.newest(parent_id))

        return await self._office.carry_out(caller.cause, IssuedKeyView, command)

    async def _for_partner(self, work: Work, caller: Caller, new: key.IssueKey, wanted: NewKey) -> key.IssueKey:
        """The same key under its integration's rule, noted in the partner's stream: no offboarding misses it."""
        this = await work.load(PARTNER, str(new.partner_id))
        caller.demand_sight(PARTNER.word, this)
        if new.integration_id not in (None, this.integration_id):
            raise Invalid("The partner belongs to another integration.", ("/integrationId", "Leave it out."))
        integration = await work.load(INTEGRATION, this.integration_id)
        if new.environment is None or new.kind != "service":
            return msgspec.structs.replace(new, integration_id=integration.id)  # refused for what it lacks, by name
        offer = offered(integration, new.environment)
        within_reach = caller.conditions.environments
        if within_reach is not None and new.environment not in within_reach:
            raise ExceedsCeiling("This key is narrowed.", ("/environment", f"Keep within {', '.join(within_reach)}."))
        await _demand_room_of_partner(work, this, integration, new.environment)
        work.append(PARTNER, this.id, partner.decide(this, partner.AddKey(new.key_id)))
        above = Ceiling(rule=offer.rule, expires_at=offer.policy.expiry(work.now))
        document = wanted.below(above, wanted.name or name_by_policy(integration, new.environment, this))
        return msgspec.structs.replace(
            new, integration_id=integration.id, document=document, upkeep=offer.policy.upkeep(work.now)
        )

    @staticmethod
    async def _demand_may_issue(work: Work, caller: Caller, new: key.IssueKey) -> None:
        """A key that manages never has more than the one that issues it."""
        if new.kind == "integration" and new.integration_id is not None:
            integration = await work.load(INTEGRATION, new.integration_id)
            caller.demand_sight(INTEGRATION.word, integration)
        issued = _as_issued(new, work)
        await demand_reach(work, caller, issued)
        await demand_role(work, issued)


async def demand_reach(work: Work, caller: Caller, this: Key) -> None:
    """Raises `Forbidden` or `ExceedsCeiling` when the key has, or is going to have, more than the caller's."""
    if this.document.role == "owner" and not caller.is_owner:
        raise Forbidden("Only an owner can do this with an owner's key.")
    role_id, role = custom_role(this), None
    if role_id is not None and is_id(ROLE.prefix, role_id):
        role = await work.load(ROLE, role_id)
        caller.demand_sight(ROLE.word, role)
    conditions = this.document.conditions
    if this.kind == "integration":
        conditions = Conditions(integrations=(this.integration_id and (this.integration_id,)) or None)
    caller.demand_reach(permissions_of(this, role), conditions)


async def demand_role(work: Work, this: Key) -> None:
    """That the custom role that a key is given still exists. Raises `RoleGone`."""
    role_id = custom_role(this)
    if role_id is not None and is_id(ROLE.prefix, role_id) and (await work.load(ROLE, role_id)).status == "removed":
        raise RoleGone("Choose another role.", ("/role", "This one has been removed."))


def offered(integration: Integration, environment: Environment) -> Offer:
    """What the integration offers in the environment. Raises `Invalid` when it doesn't."""
    offers = integration.terms.environments
    if environment not in offers:
        raise Invalid(
            "The integration doesn't offer this environment.", ("/environment", f"It offers {', '.join(offers)}.")
        )
    return offers[environment]


def name_by_policy(integration: Integration, environment: Environment, of: Partner) -> str:
    policy = integration.terms.environments[environment].policy
    return policy.name_for(app=of.app_name or of.id, environment=environment, integration=integration.terms.name)


def _as_issued(new: key.IssueKey, work: Work) -> Key:
    """The key as it would be, for those who judge it before it is one."""
    return Key(
        id=new.key_id,
        workspace_id=new.workspace_id,
        kind=new.kind,
        document=new.document,
        integration_id=new.integration_id,
        partner_id=new.partner_id,
        environment=new.environment,
        issued_at=work.now,
    )


async def _demand_room_of_partner(
    work: Work, of: Partner, integration: Integration, environment: Environment | None
) -> None:
    """How many of a partner's keys may live at once; a retiring one counts with its successor."""
    offer = environment and integration.terms.environments.get(environment)
    if offer and offer.policy.live_keys is not None:
        keys = [each for each in of.keys if (await work.load(KEY, each)).environment == environment]
        await _demand_room(work, tuple(keys), offer.policy.live_keys, f"in {environment}")


async def _demand_room(work: Work, ids: tuple[str, ...], most: int, where: str) -> None:
    states = [(await work.load(KEY, each)).status_at(work.now) for each in ids]
    if sum(status in ("pending", "active", "suspended") for status in states) >= most:
        raise TooManyKeys(f"{most} live {where}, and more may not. Revoke one, or rotate instead of issuing.")

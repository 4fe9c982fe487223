"""Access keys: issued and revoked."""

from datetime import datetime

import msgspec

from keyfold.app.access import Caller
from keyfold.app.views import IssuedKeyView, KeyView
from keyfold.app.work import Answer, Office, Work
from keyfold.domain import key, partner
from keyfold.domain.aggregates import INTEGRATION, KEY, PARTNER
from keyfold.domain.key import KeyKind
from keyfold.domain.permissions import Action, Environment, Role, Rule
from keyfold.domain.refusals import Forbidden, Invalid


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. An account key has a role, an integration key an integration, a service key a partner.

    `permitted` and `topics` are what a service key shall have of its integration's rule; left out, all of it.
    """

    kind: KeyKind
    name: str
    role: Role | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    permitted: tuple[Action, ...] | None = None
    topics: dict[Action, tuple[str, ...]] = {}
    not_before: datetime | None = None
    expires_at: datetime | None = None


def issue_key(work: Work, command: key.IssueKey) -> IssuedKeyView:
    """Appends a new key, and its secret's digest, to the work at hand."""
    issued = work.append(KEY, command.key_id, key.issue(command, work.now))
    return IssuedKeyView.issued(issued, work.now, work.mint(command.mark, command.key_id))


class Keys:
    def __init__(self, office: Office) -> None:
        self._office = office

    async def issue(self, caller: Caller, wanted: NewKey) -> Answer[IssuedKeyView]:
        """Issues a key of any kind. A partner's key gets what its integration's rule for the environment gives."""
        given = {"/permitted": wanted.permitted is not None, "/options": bool(wanted.topics)}
        if wanted.kind != "service" and any(given.values()):
            extra = [(pointer, "Leave it out.") for pointer, is_given in given.items() if is_given]
            raise Invalid("Only a service key has permitted actions and topics.", *extra)
        if wanted.role == "owner" and not caller.is_owner:
            raise Forbidden("Only an owner can issue an owner's key.")
        caller.demand_reach(key.permissions_of(wanted.kind, wanted.role))

        async def command(work: Work) -> IssuedKeyView:
            new = key.IssueKey(
                key_id=work.new_id("key"),
                workspace_id=caller.workspace_id,
                kind=wanted.kind,
                name=wanted.name,
                role=wanted.role,
                integration_id=wanted.integration_id,
                partner_id=wanted.partner_id,
                environment=wanted.environment,
                not_before=wanted.not_before,
                expires_at=wanted.expires_at,
            )
            if wanted.partner_id is not None:
                new = await self._for_partner(work, caller, new, wanted)
            elif wanted.integration_id is not None:
                integration = await work.load(INTEGRATION, wanted.integration_id)
                caller.demand_sight(INTEGRATION.word, integration)
            return issue_key(work, new)

        return await self._office.carry_out(caller.cause, IssuedKeyView, command)

    async def revoke(self, caller: Caller, key_id: str, reason: str) -> Answer[KeyView]:
        """Revokes a key for good. Doing it again changes nothing."""

        async def command(work: Work) -> KeyView:
            this = await work.load(KEY, key_id)
            caller.demand_sight(KEY.word, this)
            if this.role == "owner" and not caller.is_owner:
                raise Forbidden("Only an owner can revoke an owner's key.")
            return KeyView.of(work.append(KEY, key_id, key.decide(this, key.RevokeKey(reason))), work.now)

        return await self._office.carry_out(caller.cause, KeyView, command)

    async def _for_partner(self, work: Work, caller: Caller, new: key.IssueKey, wanted: NewKey) -> key.IssueKey:
        """The same key under its integration's rule, noted in the partner's stream: no offboarding misses it."""
        this = await work.load(PARTNER, str(new.partner_id))
        caller.demand_sight(PARTNER.word, this)
        if new.integration_id not in (None, this.integration_id):
            raise Invalid("The partner belongs to another integration.", ("/integrationId", "Leave it out."))
        integration = await work.load(INTEGRATION, this.integration_id)
        work.append(PARTNER, this.id, partner.decide(this, partner.AddKey(new.key_id)))
        ceiling = self._ceiling(integration.rules, new.environment)
        rule = ceiling and ceiling.narrowed(wanted.permitted, wanted.topics)
        longest = integration.key_expiry(work.now)
        expires = min(filter(None, (new.expires_at, longest)), default=None)
        return msgspec.structs.replace(new, integration_id=integration.id, rule=rule, expires_at=expires)

    @staticmethod
    def _ceiling(rules: dict[Environment, Rule], environment: Environment | None) -> Rule | None:
        if environment is not None and environment not in rules:
            offered = ", ".join(rules)
            raise Invalid("The integration doesn't offer this environment.", ("/environment", f"It offers {offered}."))
        return None if environment is None else rules[environment]

"""Who is asking: access keys checked against the truth, and what the caller may do and see."""

from datetime import datetime
from typing import Protocol

import msgspec

from keyfold.app.ports import Clock, Journal
from keyfold.app.vault import Vault
from keyfold.app.views import VerificationView
from keyfold.app.work import Cause
from keyfold.domain.aggregates import KEY
from keyfold.domain.key import Key
from keyfold.domain.permissions import Action, Permission
from keyfold.domain.refusals import Forbidden, NotFound
from keyfold.domain.tokens import parse_token


class Tenanted(Protocol):
    """A state that belongs to a workspace."""

    @property
    def id(self) -> str: ...
    @property
    def workspace_id(self) -> str: ...


class Caller(msgspec.Struct, frozen=True):
    """Who asks, on behalf of which workspace, and of which integration where the key is bound to one."""

    cause: Cause
    workspace_id: str
    integration_id: str | None = None
    is_owner: bool = False
    permissions: frozenset[Permission] = frozenset()

    def sees(self, state: Tenanted) -> bool:
        if state.workspace_id != self.workspace_id:
            return False
        if self.integration_id is None:
            return True
        return self.integration_id in (state.id, getattr(state, "integration_id", None))

    def narrowed(self, filters: dict[str, str | None], column: str) -> dict[str, str | None]:
        """A list's filters, within what the caller sees; `column` is where the list has the integration's id."""
        if self.integration_id is None:
            return filters
        if filters.get(column) not in (None, self.integration_id):
            raise NotFound.of("integration", str(filters[column]))
        return {**filters, column: self.integration_id}

    def demand_sight(self, word: str, state: Tenanted) -> None:
        """Raises `NotFound` for what is not the caller's, exactly as for what doesn't exist."""
        if not self.sees(state):
            raise NotFound.of(word, state.id)

    def demand_reach(self, given: frozenset[Permission]) -> None:
        """Nobody gives what they don't have. An owner has all."""
        if not self.is_owner and (beyond := given - self.permissions):
            raise Forbidden(f"The new key would have permissions that this one lacks: {', '.join(sorted(beyond))}.")

    def demand_integration(self) -> str:
        """The integration that the caller's key is bound to."""
        if self.integration_id is None:
            raise Forbidden("Only an integration key can do this: it says which integration the partner is to join.")
        return self.integration_id


class Verifier:
    """The one verification of access keys."""

    def __init__(self, *, journal: Journal, vault: Vault, clock: Clock) -> None:
        self._journal = journal
        self._vault = vault
        self._clock = clock

    async def identify(self, text: str) -> Key | None:
        """The key that `text` is the secret of, whatever its state; None for an unknown one, at equal cost."""
        token = parse_token(text)
        if token is None or token.mark in ("kfl", "kfs"):
            return None
        matches = self._vault.matches(token, self._journal.remembered_digest(token.id))
        if not matches:
            matches = self._vault.matches(token, await self._journal.digest(token.id))
        loaded = await self._journal.load(KEY, token.id)
        return loaded.state if matches else None

    async def authenticate(self, text: str) -> Key | None:
        """The key, when it is one that can be used now."""
        key = await self.identify(text)
        return key if key and key.refuses(self._clock(), None, None) is None else None

    async def verify(self, caller: Caller, text: str, action: Action | None, topic: str | None) -> VerificationView:
        """Whether the key may be used (to do this on that topic)."""
        key = await self.identify(text)
        if key is None or not caller.sees(key):
            return VerificationView(valid=False, code="unknown-key")
        now = self._clock()
        code = key.refuses(now, action, topic)
        return VerificationView(
            valid=code is None,
            code=code or "valid",
            key_id=key.id,
            kind=key.kind,
            workspace_id=key.workspace_id,
            integration_id=key.integration_id,
            partner_id=key.partner_id,
            environment=key.environment,
            expires_at=key.expires_at,
            remaining_seconds=_remaining(key, now),
        )


def _remaining(key: Key, now: datetime) -> float | None:
    return None if key.expires_at is None else max(0.0, (key.expires_at - now).total_seconds())

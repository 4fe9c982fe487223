"""What is told of a verification, and to whom."""

from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec

from keyfold.app.access import Caller
from keyfold.app.attempts import Attempts
from keyfold.app.limits import TooManyFailures
from keyfold.app.readings import Readings
from keyfold.app.verifier import Verdict, Verifier
from keyfold.app.views import View
from keyfold.domain.attempt import UNUSABLE, Road
from keyfold.domain.judgement import Level, Question
from keyfold.domain.key_events import KeyKind
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import Environment
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Action
from keyfold.domain.topics import is_topic
from keyfold.metrics import VERIFICATIONS


class VerifyBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is asked, over HTTP and over NATS. `address` is that of whoever showed the key:
    needed where the key is bound to networks."""

    key: Annotated[str, msgspec.Meta(max_length=256)]
    action: Action | None = None
    topic: str | None = None
    address: Annotated[str, msgspec.Meta(max_length=64)] | None = None

    def __repr__(self) -> str:
        return "VerifyBody(…)"

    def question(self) -> Question:
        """Raises `Invalid`."""
        if self.topic is not None and not is_topic(self.topic):
            raise Invalid("This is not a topic.", ("/topic", "A topic looks like app/order/created."))
        if self.topic is not None and self.action is None:
            raise Invalid("A topic needs an action.", ("/action", "Say whether to send or to receive."))
        return Question(self.action, self.topic, self.address)


class RuleView(View, frozen=True, kw_only=True, omit_defaults=True):
    """What decided: the rule of the key itself, of a key above it, or of its integration, and the pattern that covered
    the topic where one did."""

    level: Level
    id: str | None = None
    pattern: str | None = None


class VerificationView(View, frozen=True, kw_only=True):
    """Whether a key may be used (for this), and why not, as a stable code. Nothing is told of other tenants' keys.

    `remaining_seconds` is until the key ends by itself, or one that it was delegated by.
    """

    valid: bool
    code: str
    key_id: str | None = None
    kind: KeyKind | None = None
    workspace_id: str | None = None
    integration_id: str | None = None
    partner_id: str | None = None
    environment: Environment | None = None
    expires_at: datetime | None = None
    remaining_seconds: float | None = None
    retry_after_seconds: float | None = None
    rule: RuleView | None = None


UNKNOWN = VerificationView(valid=False, code="unknown-key")


class Witness(NamedTuple):
    """Keeps who asked about keys, and which keys that are no good were shown."""

    readings: Readings
    attempts: Attempts
    road: Road

    def asked(self, by: Key, address: str | None, at: datetime) -> None:
        self.readings.note_verification(by, address, at)

    def found(self, verdict: Verdict, address: str | None, at: datetime) -> None:
        if verdict.code in UNUSABLE and verdict.subject is not None:
            self.attempts.note(verdict.subject, verdict.code, road=self.road, address=address, at=at)


async def verified(
    verifier: Verifier, by: Caller, asked: VerifyBody, now: datetime, witness: Witness
) -> VerificationView:
    """The truth, for a caller who may ask. An address that has tried too many unknown keys gets no other answer than
    that; attempts are counted against the question's. Raises `Invalid`, `Unavailable`."""
    view = await _verified(verifier, by, asked, now, witness)
    witness.readings.note(by, "verification")
    VERIFICATIONS.labels(view.code).inc()
    return view


async def _verified(
    verifier: Verifier, by: Caller, asked: VerifyBody, now: datetime, witness: Witness
) -> VerificationView:
    question = asked.question()
    try:
        known = await verifier.find(asked.key, asked.address or "")
    except TooManyFailures as refused:
        return VerificationView(valid=False, code=refused.code, retry_after_seconds=refused.retry_after)
    if known is None or not by.sees(known.subject.key):
        return UNKNOWN
    verdict = verifier.judge(known, question, now)
    witness.found(verdict, question.address, now)
    return verification(verdict, now)


def verification(verdict: Verdict, now: datetime) -> VerificationView:
    """The verdict as it is told to those who see the key."""
    if verdict.subject is None:
        return UNKNOWN
    key = verdict.subject.key
    ends = (end for each in (key, *verdict.subject.parents) for end in (each.expires_at, each.retires_at))
    end = min((each for each in ends if each is not None), default=None)
    return VerificationView(
        valid=verdict.valid,
        code=verdict.code,
        key_id=key.id,
        kind=key.kind,
        workspace_id=key.workspace_id,
        integration_id=key.integration_id,
        partner_id=key.partner_id,
        environment=key.environment,
        expires_at=key.expires_at,
        remaining_seconds=None if end is None else max(0.0, (end - now).total_seconds()),
        retry_after_seconds=verdict.standing[1].retry_after
        if verdict.code == "rate-limited" and verdict.standing
        else None,
        rule=_rule(verdict),
    )


def _rule(verdict: Verdict) -> RuleView | None:
    if verdict.decision is None or verdict.subject is None:
        return None
    _, against, pattern = verdict.decision
    if against is not None:
        return RuleView(level=against.level, id=against.id)
    return RuleView(level="key", id=verdict.subject.key.id, pattern=pattern) if pattern else None

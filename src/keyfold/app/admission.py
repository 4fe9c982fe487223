"""Letting in whoever shows an access key: over HTTP and over NATS alike."""

from typing import NamedTuple

from keyfold.app.access import Caller
from keyfold.app.limits import Limiter, RateLimited
from keyfold.app.verifier import Verdict, Verifier
from keyfold.app.work import Cause
from keyfold.domain.judgement import Question, Subject
from keyfold.domain.permissions import ANYTHING
from keyfold.domain.rates import Rate, Standing
from keyfold.domain.refusals import Unauthenticated


class KeyRefused(Unauthenticated):
    """A key that isn't valid. Whose it is, if anybody's, and why, is for us: whoever showed it isn't told."""

    def __init__(self, subject: Subject | None, why: str) -> None:
        super().__init__(
            "This access key is not valid: it may be unknown, suspended, expired or revoked, or not for this network."
        )
        self.subject = subject
        self.why = why


class Admission(NamedTuple):
    """Whose key was shown, and how it stands with its own rate (`key`) and its workspace's (`workspace`)."""

    subject: Subject
    standings: dict[str, tuple[Rate, Standing]]

    def demand_rate(self) -> None:
        """Raises `RateLimited`."""
        for rate, standing in self.standings.values():
            if not standing.allowed:
                raise RateLimited(rate, standing)

    def caller(self, cause: Cause) -> Caller:
        key = self.subject.key
        return Caller(
            cause=cause,
            workspace_id=key.workspace_id,
            integration_id=key.integration_id if key.kind == "integration" else None,
            key_id=key.id if key.kind == "service" else None,
            conditions=key.document.conditions or ANYTHING,
            is_owner=key.document.role == "owner",
            permissions=self.subject.permissions,
        )


async def admit(
    verifier: Verifier, limiter: Limiter, authorization: str | None, *, address: str | None = None
) -> Admission:
    """The holder of the key in an Authorization header (RFC 6750), with this request counted against its rates.

    A key that is bound to networks needs the address. Raises `Unauthenticated`, `TooManyFailures`, `Unavailable`.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send an access key in the header Authorization, as: Bearer kf_…")
    verdict = await verifier.verify(token.strip(), Question(address=address), client=address or "")
    return admission_of(verdict, limiter)


def admission_of(verdict: Verdict, limiter: Limiter) -> Admission:
    """The holder of a key that was verified just now. Raises `KeyRefused`."""
    if verdict.subject is None or not (verdict.valid or verdict.code == "rate-limited"):
        raise KeyRefused(verdict.subject, verdict.code)
    standings: dict[str, tuple[Rate, Standing]] = {}
    if verdict.standing is not None:
        standings["key"] = verdict.standing
    subject = verdict.subject
    if subject.workspace_rate is not None and verdict.valid:
        standings["workspace"] = subject.workspace_rate, limiter.take(subject.key.workspace_id, subject.workspace_rate)
    return Admission(subject, standings)

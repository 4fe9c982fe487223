"""What a key is told that may not do with events what it asked for."""

from keyfold.app.admission import KeyRefused
from keyfold.app.limits import RateLimited
from keyfold.app.verifier import Verdict
from keyfold.domain.refusals import Refusal


class NotPermitted(Refusal):
    """A verdict on an event that speaks against it: `code` is the verdict's."""

    code, status, title = "action-not-permitted", 403, "The key may not do this"
    why = "Its rule doesn't permit this action."


class ActionNotAvailable(NotPermitted):
    code, why = "action-not-available", "There is nothing yet to use this action for."


class TopicNotPermitted(NotPermitted):
    code, why = "topic-not-permitted", "Its rule has no pattern that covers the topic."


class BeyondParent(NotPermitted):
    code, why = "beyond-parent", "The key that it was delegated by may not do this itself."


class BeyondIntegration(NotPermitted):
    code, why = "beyond-integration", "Its integration doesn't offer this."


class EnvironmentNotOffered(NotPermitted):
    code, why = "environment-not-offered", "Its integration offers nothing in the key's environment any more."


_REFUSALS = {
    each.code: each
    for each in (
        NotPermitted,
        ActionNotAvailable,
        TopicNotPermitted,
        BeyondParent,
        BeyondIntegration,
        EnvironmentNotOffered,
    )
}


def demand(verdict: Verdict, what: str) -> None:
    """That the verdict is `valid`; `what` says what was asked, as in "send to app/order/created".

    Raises `NotPermitted`, `RateLimited`, or `KeyRefused` for a key that may not be used at all.
    """
    if verdict.valid:
        return
    if verdict.code == "rate-limited" and verdict.standing is not None:
        raise RateLimited(*verdict.standing)
    if verdict.code in _REFUSALS:
        refused = _REFUSALS[verdict.code]
        raise refused(f"This key may not {what}. {refused.why}")
    raise KeyRefused(verdict.subject, verdict.code)

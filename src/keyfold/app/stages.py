"""How far a partner has come: from its invitation, by the first uses of its keys, to production."""

from collections.abc import Collection
from typing import Literal

from keyfold.domain.partner import PartnerStatus
from keyfold.domain.permissions import Environment

Stage = Literal["invited", "onboarded", "validating", "live", "offboarded"]
STAGES: tuple[Stage, ...] = ("invited", "onboarded", "validating", "live", "offboarded")


def stage_of(status: PartnerStatus, used_in: Collection[Environment]) -> Stage:
    """`validating` once a key was used in a lower environment, `live` once one was in production."""
    if status != "onboarded":
        return status
    if "prod" in used_in:
        return "live"
    return "validating" if used_in else "onboarded"

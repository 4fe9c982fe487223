"""A moment of the past: a place in the log, and the time that it was."""

from datetime import datetime
from typing import NamedTuple

from keyfold.domain.refusals import Refusal


class Moment(NamedTuple):
    """With everything up to `position`, and whatever time decides as it was at `time`."""

    position: int
    time: datetime


class NotYet(Refusal):
    """Of what hasn't come nothing is known."""

    code, status, title = "not-yet", 422, "That moment hasn't come"

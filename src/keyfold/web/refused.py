"""What somebody with a known key was refused over HTTP is kept: not every mistake, but what they may not."""

from typing import Any

from litestar import Request

from keyfold.app.admission import KeyRefused
from keyfold.domain.refusals import OutOfSight, Refusal
from keyfold.web.auth import address, services

OUTSIDE = "outside-conditions"
"""The code of an attempt at something that is there, and not for this key. It was told that there is nothing."""


def note_refusal(request: Request[Any, Any, Any], error: Exception) -> None:
    """Counts an attempt with a key that is no good, without the permission, or at what is out of its sight."""
    of = services(request)
    match error:
        case KeyRefused():
            subject, code = error.subject, error.why
        case OutOfSight():
            subject, code = request.state.get("subject"), OUTSIDE
        case Refusal() if error.status == 403:
            subject, code = request.state.get("subject"), error.code
        case _:
            return
    if subject is not None:
        of.attempts.note(subject, code, road="http", address=address(request), at=of.clock())

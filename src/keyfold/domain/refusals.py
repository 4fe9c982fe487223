"""Refusals: what a command is answered when it can't be done. Each is a type with a stable code."""

from typing import ClassVar


class Refusal(Exception):  # noqa: N818  # a refusal is an answer, not an error
    """A command was refused. `code` and `status` (RFC 9110) are part of the API; `str()` tells a person what to do.

    `fields` names what was wrong in the request: pairs of a JSON pointer (RFC 6901) and a sentence.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    title: ClassVar[str]

    def __init__(self, detail: str, *fields: tuple[str, str]) -> None:
        super().__init__(detail)
        self.fields = fields


class NotFound(Refusal):
    """It doesn't exist, or belongs to somebody else: the two can't be told apart."""

    code, status, title = "not-found", 404, "Not found"

    @classmethod
    def of(cls, what: str, this: str) -> "NotFound":
        return cls(f"There is no {what} {this} in this workspace.")


class OutOfSight(NotFound):
    """It does exist, in the caller's own workspace, outside of what the caller is narrowed to. Nobody can tell."""


class Invalid(Refusal):
    """The request was understood and its content is wrong; `fields` says where."""

    code, status, title = "invalid-request", 400, "The request is not valid"


class Unauthenticated(Refusal):
    """No key, or none that is valid."""

    code, status, title = "unauthenticated", 401, "A valid access key is needed"


class Forbidden(Refusal):
    """A valid key without the permission."""

    code, status, title = "permission-missing", 403, "The key lacks a permission"

    @classmethod
    def lacking(cls, permission: str) -> "Forbidden":
        return cls(f"This needs the permission {permission}, which this key doesn't have.")


class ForeignOrigin(Refusal):
    """A request with a session's cookie that no page of our own has made."""

    code, status, title = "foreign-origin", 403, "The request comes from another site"


class Conflict(Refusal):
    """Others kept changing the same thing while the command was decided, again and again."""

    code, status, title = "conflict", 409, "Changed by others at the same time"


class UnsupportedMediaType(Refusal):
    """The body is of a kind that nothing is read from here."""

    code, status, title = "unsupported-media-type", 415, "The content type is not supported"


class Unavailable(Refusal):
    """The truth can't be asked right now. Fails closed: nothing is ever called valid without asking."""

    code, status, title = "unavailable", 503, "Temporarily unavailable"

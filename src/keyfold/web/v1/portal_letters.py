"""Dead letters at the portal: listed over all of a partner's consumers, given once more, discarded."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, get, post
from litestar.params import FromQuery, JSONBody

from keyfold.app.views import View
from keyfold.bus.inspecting import DeadLetterView
from keyfold.bus.letters import Letter
from keyfold.domain.permissions import Environment
from keyfold.web.auth import SESSION, address, home, services
from keyfold.web.v1.common import LAST_POSITION, ONE_LINE, Body, Envelope, ListEnvelope, secret

Req = Request[Any, Any, Any]
_Id = Annotated[str, msgspec.Meta(max_length=64, pattern=ONE_LINE)]


class LetterBody(Body, frozen=True, kw_only=True):
    """Which dead letter, as it was listed."""

    key_id: _Id
    consumer: _Id
    sequence: Annotated[int, msgspec.Meta(ge=1, le=LAST_POSITION)]


class LetterView(View, frozen=True, kw_only=True):
    """A dead letter of a consumer; `keyId` is one of the keys that may use it."""

    key_id: str
    consumer: str
    environment: Environment | None
    dead_letter: DeadLetterView

    @classmethod
    def of(cls, letter: Letter) -> "LetterView":
        key = letter.known.subject.key
        return cls(key_id=key.id, consumer=letter.consumer, environment=key.environment, dead_letter=letter.view)


class PortalLetterController(Controller):
    path = "/portal/dead-letters"
    tags = ("Portal",)

    @get("/", opt={"permission": SESSION}, summary="List the dead letters of a partner")
    async def letters(
        self, request: Req, environment: FromQuery[Environment | None] = None
    ) -> Response[ListEnvelope[LetterView]]:
        """What the consumers of the partner's keys have given up on, up to 50 of each, the oldest first."""
        found = await services(request).letters.listed(home(request), environment, address=address(request))
        return secret(Response(ListEnvelope([LetterView.of(each) for each in found], None)))

    @post("/redrive", status_code=200, opt={"permission": SESSION}, summary="Give a dead letter of a partner again")
    async def redrive(self, request: Req, data: JSONBody[LetterBody]) -> Response[Envelope[LetterView]]:
        """The event is stored once more, for this consumer alone, and is no dead letter any more."""
        of = services(request).letters
        letter = await of.redrive(home(request), data.key_id, data.consumer, data.sequence, address=address(request))
        return secret(Response(Envelope(LetterView.of(letter))))

    @post("/discard", status_code=200, opt={"permission": SESSION}, summary="Discard a dead letter of a partner")
    async def discard(self, request: Req, data: JSONBody[LetterBody]) -> Response[Envelope[LetterView]]:
        """Nobody gets the event from this consumer any more."""
        of = services(request).letters
        letter = await of.discard(home(request), data.key_id, data.consumer, data.sequence, address=address(request))
        return secret(Response(Envelope(LetterView.of(letter))))

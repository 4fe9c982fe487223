"""Explanations: the whole reasoning behind what a verification says, said, or is going to say."""

from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, post
from litestar.params import JSONBody

from keyfold.app.explaining import ExplanationView
from keyfold.app.verdicts import VerifyBody
from keyfold.domain.judgement import Question
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import Action
from keyfold.web.auth import caller, services
from keyfold.web.v1.common import Body, Envelope, secret, utc
from keyfold.web.v1.key_bodies import Moment


class ExplainBody(Body, frozen=True, kw_only=True):
    """Give `keyId`, or the `key` itself. `at` is a moment that has passed, to see everything as it was then, or one
    that is to come; left out, it is now."""

    key_id: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    key: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    action: Action | None = None
    topic: str | None = None
    address: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    at: Moment | None = None

    def __repr__(self) -> str:
        return "ExplainBody(…)"

    def question(self) -> Question:
        """Raises `Invalid`."""
        return VerifyBody(key="", action=self.action, topic=self.topic, address=self.address).question()


class ExplainingController(Controller):
    path = "/keys"
    tags = ("Keys",)

    @post("/explain", status_code=200, opt={"permission": "keys:explain"}, summary="Explain a verification")
    async def explain(
        self, request: Request[Any, Any, Any], data: JSONBody[ExplainBody]
    ) -> Response[Envelope[ExplanationView]]:
        """Every step of the reasoning: the statuses, networks and permissions of the key, of the keys above it and of
        its integration. Nothing is counted, and no rate is taken."""
        of, by = services(request), await caller(request)
        question, at = data.question(), utc("/at", data.at)
        if data.key_id is not None and data.key is None:
            return secret(Response(Envelope(await of.explaining.of_id(by, data.key_id, question, at))))
        if data.key is not None and data.key_id is None:
            return secret(Response(Envelope(await of.explaining.of_secret(by, data.key, question, at))))
        raise Invalid("Say which key.", ("/keyId", "Give either its id or the key itself."))

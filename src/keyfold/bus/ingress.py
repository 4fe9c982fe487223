"""The ingress for NATS clients: events published below `events.`, each from a sender whom the server attests.

The same `Ingress` as over HTTP does the work. The answer has the shape of JetStream's own (`PubAck`), so that clients'
`js.publish` takes it, with a problem's code and detail beside its error.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import msgspec
import structlog
from nats.aio.msg import Msg

from keyfold.app.ingress import Ingress, Published, Ready
from keyfold.app.verifier import Verifier
from keyfold.bus.accounts import Accounts
from keyfold.bus.connection import Bus
from keyfold.bus.topology import DOMAIN
from keyfold.domain import cloudevents
from keyfold.domain.app_event import Draft, topic_of
from keyfold.domain.refusals import Invalid, Refusal, Unauthenticated, Unavailable
from keyfold.metrics import FORGED

log = structlog.get_logger()

SUBJECT = "in.*.>"
QUEUE = "keyfold-api"
AT_ONCE = 4_000
"""Events that a process has under way; more are refused."""
OF_ONE = 2_000
"""Of them those of one key, so that its flood is not everybody's."""
PATIENCE = 2.0
"""Seconds that an event waits for those before it. Its sender has long given up when each of them takes its time."""
_INFO = "Nats-Request-Info"
_MESSAGE_ID = "Nats-Msg-Id"


class _Info(msgspec.Struct):
    """What the server says of the sender. A reply that was forged into `events.` has no `user`."""

    acc: str = ""
    user: str = ""
    host: str | None = None


class Sender(NamedTuple):
    key_id: str
    address: str | None


class NatsIngress:
    """Takes what the queue group gives it. What one key sends is handed to JetStream in the order in which it came."""

    def __init__(
        self, bus: Bus, *, ingress: Ingress, accounts: Accounts, verifier: Verifier, new_id: Callable[[str], str]
    ) -> None:
        self._bus = bus
        self._ingress = ingress
        self._accounts = accounts
        self._verifier = verifier
        self._new_id = new_id
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._under_way: set[asyncio.Task[None]] = set()
        self._of_one: Counter[str] = Counter()

    async def start(self) -> None:
        await self._bus.handle(SUBJECT, self._take, queue=QUEUE)

    async def stop(self) -> None:
        """Returns when all that was taken is answered; the others of the group take what comes from now on."""
        await self._bus.release(SUBJECT)
        await asyncio.gather(*self._under_way)

    async def _take(self, message: Msg) -> None:
        sender = self._sender(message)
        if sender is None:
            FORGED.inc()
            return  # and no answer: it would go where a forger wants it
        if len(self._under_way) >= AT_ONCE or self._of_one[sender.key_id] >= OF_ONE:
            await self._reply(message, _error(Unavailable("Too many events are under way. Try again."), ""))
            return
        task = asyncio.create_task(self._respond(message, sender))
        self._under_way.add(task)
        self._of_one[sender.key_id] += 1
        task.add_done_callback(partial(self._done, sender.key_id))

    def _done(self, key_id: str, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._of_one[key_id] -= 1
        if not self._of_one[key_id]:
            del self._of_one[key_id]

    def _sender(self, message: Msg) -> Sender | None:
        """Whose connection the message came from: what the server wrote, and the account in the subject, agree."""
        try:
            info = msgspec.json.decode((message.headers or {}).get(_INFO, "{}"), type=_Info)
        except msgspec.MsgspecError:
            return None
        account = message.subject.split(".", 2)[1]
        if not info.user or info.acc != account or not self._accounts.is_account(account, info.user):
            return None
        return Sender(info.user, info.host)

    async def _respond(self, message: Msg, sender: Sender) -> None:
        try:
            answer = _acknowledgement(await self._publish(message, sender))
        except Refusal as refusal:
            answer = _error(refusal, self._new_id("req"))
        except Exception as error:  # whatever it was, whoever sends gets an answer
            request_id = self._new_id("req")
            log.exception("ingress.failed", request_id=request_id, error=type(error).__name__)
            answer = _error(_Broken(f"The failure was logged under {request_id}."), request_id)
        if message.reply:
            await self._reply(message, answer)

    async def _publish(self, message: Msg, sender: Sender) -> Published:
        turn, clock = self._turns.setdefault(sender.key_id, asyncio.Lock()), asyncio.get_running_loop().time
        came = clock()
        async with turn:
            if clock() - came > PATIENCE:
                raise Unavailable("Those before it took too long. It was not stored: try again.")
            known = await self._verifier.find_id(sender.key_id)
            if known is None:
                raise Unauthenticated("This access key doesn't exist.")
            try:
                draft, topic = _read(message)
            except Refusal as refusal:
                self._ingress.refused(known, refusal)
                raise
            ready = await self._ingress.prepare(known, draft, topic=topic, address=sender.address, road="nats")
            storing = asyncio.create_task(_stored(ready))  # these begin in the order of their making
        return await storing

    async def _reply(self, message: Msg, answer: Mapping[str, Any]) -> None:
        # not by `Msg.respond`, which sends the request's headers back
        await self._bus.tell(message.reply, msgspec.json.encode(answer))


def _read(message: Msg) -> tuple[Draft, str]:
    """The event, and the topic in the subject. Raises `Invalid`, `UnsupportedMediaType`."""
    headers = {name.lower(): value for name, value in (message.headers or {}).items()}
    topic = message.subject.split(".", 2)[2].replace(".", "/")
    fallback_id = headers.get(_MESSAGE_ID.lower())
    draft = cloudevents.read(headers.get("content-type", ""), headers, message.data, fallback_id=fallback_id)
    return draft, topic_of(draft, topic)


class _Broken(Refusal):
    code, status, title = "internal", 500, "Something broke on our side"


def _acknowledgement(published: Published) -> dict[str, Any]:
    return {
        "stream": published.stream,
        "seq": published.sequence,
        "domain": DOMAIN,
        **({"duplicate": True} if published.duplicate else {}),
        "id": published.id,
    }


def _error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    fields = [{"pointer": pointer, "detail": detail} for pointer, detail in refusal.fields]
    return {
        "error": {"code": refusal.status, "err_code": 10_000 + refusal.status, "description": str(refusal)},
        "code": refusal.code,
        "requestId": request_id,
        **({"errors": fields} if isinstance(refusal, Invalid) or fields else {}),
    }


async def _stored(ready: Ready) -> Published:
    return await ready

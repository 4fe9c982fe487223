"""The stream of lifecycle events as a stranger sees it, for comparing it with the log and for harming it."""

from nats.js.errors import NotFoundError

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import LIFECYCLE
from keyfold.worker.worker import Worker

from .support import LIMIT, rows, wait_until


async def last_sequence(bus: Bus) -> int:
    """0 when there is no stream."""
    try:
        return (await bus.jetstream().stream_info(LIFECYCLE)).state.last_seq
    except NotFoundError:
        return 0


async def relayed(bus: Bus, url: str, seconds: float = LIMIT) -> int:
    """Waits until the stream ends where the log does, and demands that it says the same, byte for byte."""
    log = await rows(url, "SELECT position, record FROM keyfold.log ORDER BY position")

    async def ends_there() -> bool:
        return bus.is_connected and await last_sequence(bus) == len(log)

    await wait_until(ends_there, seconds)
    info = await bus.jetstream().stream_info(LIFECYCLE)
    assert info.state.messages == len(log)
    for position, record in log:
        message = await bus.jetstream().get_msg(LIFECYCLE, seq=position)
        assert message.seq == position
        assert message.data == record.encode()
    return len(log)


async def put(bus: Bus, data: bytes, subject: str = "lc.ws_foreign.key.issued.v1") -> int:
    """A message that nobody's relay sent. Gives its sequence."""
    return (await bus.jetstream().publish(subject, data)).seq


def loop_of(worker: Worker, name: str = "relay") -> str:
    """How a loop is: its status and what it says."""
    (found,) = (loop for loop in worker.loops if loop.name == name)
    return f"{found.status}: {found.detail}"


def loop_is(worker: Worker, name: str, status: str) -> bool:
    return loop_of(worker, name).startswith(status)

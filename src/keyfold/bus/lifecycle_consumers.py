"""The consumers by which a workspace's own people read its lifecycle events from JetStream itself."""

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from keyfold.bus.connection import Bus
from keyfold.bus.subjects import LIFECYCLE
from keyfold.domain.key_state import Key
from keyfold.domain.permissions import ANYTHING

PENDING = 1_000
"""Events that may be on their way without being acknowledged."""
ACK_WAIT = 30
"""Seconds after which an event that isn't acknowledged comes again."""


async def ensure_lifecycle_consumer(bus: Bus, key: Key) -> str:
    """The name of the durable pull consumer `k_…` of an account key, which has every event of its workspace from the
    first one on. Made when it isn't there: one that NATS has lost begins anew.

    Only for a key with `audit:read` that isn't narrowed: the consumer can't tell what a narrowed one may see. That is
    for the caller to see to. Raises `nats.errors.Error`, `NotFoundError` while there is no stream.
    """
    if key.kind != "account" or key.document.conditions not in (None, ANYTHING):
        raise ValueError("only account keys that are not narrowed have a consumer of lifecycle events")
    name = f"k_{key.id.removeprefix('key_')}"
    js = bus.jetstream()
    try:
        await js.consumer_info(LIFECYCLE, name)
    except NotFoundError:
        await js.add_consumer(LIFECYCLE, _config(name, key.workspace_id))
    return name


def _config(name: str, workspace_id: str) -> ConsumerConfig:
    return ConsumerConfig(
        durable_name=name,
        filter_subject=f"lc.{workspace_id}.>",
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=ACK_WAIT,
        max_ack_pending=PENDING,
    )

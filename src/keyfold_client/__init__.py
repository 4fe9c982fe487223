"""Keyfold for partners' apps: publish and consume events with an access key, over HTTP or NATS, sync or async.

async with keyfold_client.connect("https://keyfold.example", key=os.environ["KEYFOLD_KEY"]) as app:
    await app.publish("app/order/created", {"orderId": "o_1"})
    async for event in app.consume():
        print(event.topic, event.data)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keyfold_client.client import AsyncClient, connect
    from keyfold_client.errors import FieldError, KeyfoldError, KeyRefused, Unreachable
    from keyfold_client.models import Delivery, Event, Receipt, Rotated, SyncDelivery, Verification
    from keyfold_client.sync import Client, connect_sync

__all__ = [
    "AsyncClient",
    "Client",
    "Delivery",
    "Event",
    "FieldError",
    "KeyRefused",
    "KeyfoldError",
    "Receipt",
    "Rotated",
    "SyncDelivery",
    "Unreachable",
    "Verification",
    "connect",
    "connect_sync",
]
_MODULES = {
    "client": ("AsyncClient", "connect"),
    "errors": ("FieldError", "KeyRefused", "KeyfoldError", "Unreachable"),
    "models": ("Delivery", "Event", "Receipt", "Rotated", "SyncDelivery", "Verification"),
    "sync": ("Client", "connect_sync"),
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for when it is: auditors use `keyfold_client.audit` without what the rest needs."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]

"""Keyfold for partners' apps: publish and consume events with an access key, over HTTP or NATS, sync or async.

async with keyfold_client.connect("https://keyfold.example", key=os.environ["KEYFOLD_KEY"]) as app:
    await app.publish("app/order/created", {"orderId": "o_1"})
    async for event in app.consume():
        print(event.topic, event.data)
"""

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

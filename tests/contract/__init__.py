"""The HTTP API as its users meet it: the real application on a real Postgres and NATS, over ASGI.

All tests talk to one running system, in one event loop, and each has workspaces of its own: that they don't see each
other is itself part of the contract.
"""

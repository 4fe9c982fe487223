"""What every loop without an end owes whoever cancels it."""

import asyncio


def obey_cancellation() -> None:
    """Raises `CancelledError` in a task that was cancelled and goes on all the same.

    Until Python 3.12 `asyncio.wait_for` swallows a cancellation that comes together with the answer
    (https://github.com/python/cpython/issues/86296), and nats-py waits so for each of its requests.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError

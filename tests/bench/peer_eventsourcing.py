"""Runs under a Python that has `eventsourcing`, outside the repository: its default Postgres recorder, driven by lines.

Questions: open, append (`writers` threads for `seconds`), fill and read (`events`). Every append is one event of a new
aggregate, already encoded, as the recorder takes it: the library's mapper and its aggregates are not in the way.
"""

import json
import sys
import time
import uuid
from importlib import import_module
from threading import Thread
from typing import Any

_BATCH = 50
"""Events of one insert when a log is filled: with 1,000 of them psycopg 3.3 waits for ever in its pipeline."""


class Peer:
    def __init__(self, question: dict[str, Any]) -> None:
        postgres: Any = import_module("eventsourcing.postgres")
        self._persistence: Any = import_module("eventsourcing.persistence")
        environment = {
            "POSTGRES_DBNAME": question["database"],
            "POSTGRES_HOST": question["host"],
            "POSTGRES_PORT": "5432",
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": "unused",
            "POSTGRES_POOL_SIZE": "32",
        }
        utils: Any = import_module("eventsourcing.utils")
        self._recorder = postgres.PostgresFactory(utils.Environment("bench", environment)).application_recorder()
        self._state = json.dumps({"rest": "." * (question["size"] - 12)}).encode()

    def append(self, writers: int, seconds: float, **_: object) -> dict[str, float]:
        counts: list[int] = []
        started = time.perf_counter()

        def write() -> None:
            done = 0
            while time.perf_counter() - started < seconds:
                self._recorder.insert_events([self._event()])
                done += 1
            counts.append(done)

        threads = [Thread(target=write) for _ in range(writers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return {"count": sum(counts), "seconds": time.perf_counter() - started}

    def fill(self, events: int, **_: object) -> dict[str, float]:
        started = time.perf_counter()
        while (self._recorder.max_notification_id() or 0) < events:
            self._recorder.insert_events([self._event() for _ in range(_BATCH)])
        return {"count": events, "seconds": time.perf_counter() - started}

    def read(self, events: int, batch: int, **_: object) -> dict[str, float]:
        started, done, after = time.perf_counter(), 0, 0
        while done < events:
            found = self._recorder.select_notifications(after + 1, min(batch, events - done))
            done, after = done + len(found), found[-1].id
        return {"count": done, "seconds": time.perf_counter() - started}

    def _event(self) -> Any:
        return self._persistence.StoredEvent(
            originator_id=uuid.uuid4(), originator_version=1, topic="bench:IntegrationCreated", state=self._state
        )


def main() -> None:
    peer: Peer | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            if question["do"] == "open":
                peer, answer = Peer(question), {}
            else:
                answer = getattr(peer, question.pop("do"))(**question)
        except Exception as error:  # noqa: BLE001  # said to whoever asked
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)


main()

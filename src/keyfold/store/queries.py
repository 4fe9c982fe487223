"""The SQL statements, each in a file of its own."""

from functools import cache
from importlib.resources import files


@cache
def query(name: str) -> str:
    """The text of `sql/<name>.sql`."""
    return (files("keyfold.store") / "sql" / f"{name}.sql").read_text(encoding="utf-8")

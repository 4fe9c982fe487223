"""The query parameters of a route: those that it has, each once."""

from functools import cache
from typing import Any

from litestar import Request
from litestar.handlers import BaseRouteHandler

from keyfold.domain.refusals import Invalid


def demand_known(request: Request[Any, Any, Any]) -> None:
    """That nothing was asked for which wouldn't be heeded. Raises `Invalid`, which names it.

    A misspelt `asOf` would be answered with the present, a misspelt filter with everything.
    """
    if not request.scope["query_string"]:
        return
    known = _parameters(request.route_handler, tuple(request.path_params))
    asked = [name for name, _ in request.query_params.multi_items()]
    for name in asked:
        if name not in known:
            raise _unknown(name, known)
        if not known[name] and asked.count(name) > 1:
            raise Invalid("A parameter came twice.", (f"?{name}", "Send it once."))


def _unknown(name: str, known: dict[str, bool]) -> Invalid:
    if name == "asOf":
        return Invalid("Nothing is done in the past, and not everything is known of it.", ("?asOf", "Leave it out."))
    takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
    return Invalid(f"This route has no query parameter {name[:64]!r}.", (f"?{name[:64]}", f"Leave it out. {takes}"))


@cache
def _parameters(handler: BaseRouteHandler, path: tuple[str, ...]) -> dict[str, bool]:
    """The names of those that a handler and its dependencies take, and whether each may come more than once. `path`
    names what stands in the path: whatever else is none of the framework's own is asked for by the query."""
    model = handler.create_kwargs_model(dict.fromkeys(path))  # type: ignore[arg-type]  # only the names are looked at
    return {each.field_alias: each.is_sequence for each in model.expected_query_params}

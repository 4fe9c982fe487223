"""The page on permissions, by the code that enforces them: `python -m keyfold.web.pages.permissions` writes it."""

from collections.abc import Iterator
from importlib.resources import as_file, files

from litestar.routes import HTTPRoute

from keyfold.domain.permissions import INTEGRATION_KEY, PERMISSIONS, PORTAL, ROLES
from keyfold.web.auth import EVENTS, PUBLIC, SELF, SESSION
from keyfold.web.pages.openapi import camel_path
from keyfold.web.v1 import router

HOLDERS = dict([*ROLES.items(), ("integration key", INTEGRATION_KEY), ("portal", PORTAL)])
"""Who has which permissions: the built-in roles, and what has no role."""

_PAGE = """\
# Permissions

Every route names the permission that it needs. This page is written by the code that enforces it, and a test fails when
the two differ.

An account key has the permissions of its role: one that is built in, or a custom role of the workspace, which is a
named set of permissions. An integration key and a portal session have those of their columns, within their one
integration and their one partner. A service key has none: it manages nothing but itself.

- A permission says what may be done, the conditions of an account key (`integrations`, `partners`, `environments`)
  narrow on what. Whatever lies outside them answers 404.
- Nobody gives a key, or a role, permissions that they lack, or leaves a key narrowed less than their own. Only an owner
  issues, changes or ends an owner's key, and the last owner can't be removed.
- `partners:invite` takes an integration key in practice: only that says which integration a partner is to join.
- `POST /api/v1/keys/bulk` needs the permission of its action, too.
- `{events}` stands for what a service key is for: its rule says which topics it may send to and receive from.
- `{self}` stands for what every valid key may do with itself, `{session}` for what an open portal session shows of its
  own partner. `{public}` needs nothing: a token is in the body.

## Who has which permission

{permissions}

## What each route needs

{routes}
"""


def page() -> str:
    """The page as Markdown."""
    return _PAGE.format(
        self=SELF,
        session=SESSION,
        public=PUBLIC,
        events=EVENTS,
        permissions=_table(["permission", *HOLDERS], [[f"`{each}`", *_marks(each)] for each in sorted(PERMISSIONS)]),
        routes=_table(["route", "permission", "who has it"], [*_rows()]),
    )


def needed() -> Iterator[tuple[str, str, str]]:
    """Path, method and permission of every route of the API."""
    for route in router.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods - {"OPTIONS"}:
                    yield route.path_format, method, handler.opt["permission"]


def _rows() -> Iterator[list[str]]:
    for path, method, permission in sorted(needed()):
        yield [f"`{method} {camel_path(path)}`", f"`{permission}`", _who(permission)]


def _who(permission: str) -> str:
    unbound = {PUBLIC: "everybody", SELF: "every key", EVENTS: "service keys, by their rule", SESSION: "portal"}
    return unbound.get(permission) or ", ".join(name for name, given in HOLDERS.items() if permission in given)


def _marks(permission: str) -> list[str]:
    return ["yes" if permission in given else "" for given in HOLDERS.values()]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["|".join(f" {cell} " if cell else " " for cell in cells) for cells in (head, *rows)]
    lines.insert(1, "|".join("---" for _ in head))
    return "\n".join(f"|{line}|" for line in lines)


if __name__ == "__main__":
    with as_file(files("keyfold") / "docs" / "permissions.md") as file:
        file.write_text(page(), encoding="utf-8")

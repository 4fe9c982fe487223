"""How routes are put together."""

from typing import Any

from litestar import Router


class Routes(Router):
    """A router that the application takes as it is. Of Litestar's own it takes a deep copy of every handler, a tenth of
    a second at each start; here nothing changes what it has taken, and all applications of a process take the same.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> "Routes":
        return self

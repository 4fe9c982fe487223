"""The portal's session over HTTP: its cookie, and which requests may use it."""

from typing import Any
from urllib.parse import urlsplit

from litestar import Request

from keyfold.domain.refusals import ForeignOrigin
from keyfold.domain.session import LIFETIME

SESSION_COOKIE = "__Host-keyfold-portal"
_SAFE = ("GET", "HEAD")


def cookie(value: str, *, embedded: bool) -> str:
    """The header `Set-Cookie` that opens a session in a browser, or with an empty value ends it.

    In a page of another site a browser keeps it for that site alone (CHIPS: draft-cutler-httpbis-partitioned-cookies).
    Written by hand, since Python's `http.cookies` knows `Partitioned` from 3.14 on.
    """
    seconds = int(LIFETIME.total_seconds()) if value else 0
    where = "SameSite=None; Partitioned" if embedded else "SameSite=Lax"
    return f"{SESSION_COOKIE}={value}; Max-Age={seconds}; Path=/; Secure; HttpOnly; {where}"


def demand_own_page(request: Request[Any, Any, Any], public_url: str) -> None:
    """That a page of our own makes the request, or for what changes nothing at least none of another site's.

    Browsers write `Origin` and `Sec-Fetch-Site` (Fetch Metadata) themselves, and no page can change them; whoever
    changes something without saying where it comes from is refused too. Raises `ForeignOrigin`.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
    is_safe = request.method in _SAFE
    if site is not None and site != "same-origin" and not (is_safe and site == "none"):
        raise ForeignOrigin("A page of another site has made this request. Open the portal itself.")
    if origin is None:
        if is_safe:
            return
        raise ForeignOrigin("Whoever changes something by a session says where from, in the header Origin.")
    if not _is_own(origin, request.headers.get("host", ""), public_url):
        raise ForeignOrigin("This page belongs to another site than the portal.")


def _is_own(origin: str, host: str, public_url: str) -> bool:
    """Whether it is the host that was asked, over https, or over what people reach us by."""
    try:
        scheme, netloc = urlsplit(origin)[:2]
    except ValueError:
        return False
    if f"{scheme}://{netloc}" != origin or not host or netloc.lower() != host.lower():
        return False
    return scheme == "https" or (scheme == "http" and public_url.startswith("http://"))

"""Origins (RFC 6454) of the pages that may embed an integration's portal: exact ones, without wildcards."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import AddressValueError, IPv6Address

from keyfold.domain.limits import Fault

ORIGINS = 20
LENGTH = 255
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(?P<scheme>https?)://(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)|\[(?P<v6>[0-9a-f:]+)\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
_USUAL = {"https": "443", "http": "80"}


def origin_faults(pointer: str, origins: Sequence[str]) -> Iterator[Fault]:
    """What is wrong with a list of origins."""
    if len(origins) > ORIGINS:
        yield pointer, f"Name {ORIGINS} origins at the most."
    for n, each in enumerate(origins):
        if (fault := _fault(each)) is not None:
            yield f"{pointer}/{n}", fault
        elif each in origins[:n]:
            yield f"{pointer}/{n}", "This one is named before."


def _fault(origin: str) -> str | None:
    """Why browsers would never say that a page is of this origin, or why it wouldn't be safe to believe it."""
    match = _ORIGIN.fullmatch(origin) if len(origin) <= LENGTH else None
    if match is None or int(match["port"] or 1) > 65_535 or not _is_host(match["v6"]):
        return "Give an origin as browsers write it, such as https://app.example.com: lower case, no path, no wildcard."
    if match["port"] == _USUAL[match["scheme"]]:
        return "Leave the port out: it is the usual one, and browsers don't write it."
    if match["scheme"] == "http" and match["name"] != "localhost":
        return "Only http://localhost may do without https."
    return None


def _is_host(v6: str | None) -> bool:
    try:
        return v6 is None or str(IPv6Address(v6)) == v6
    except AddressValueError:
        return False


def frame_ancestors(origins: Sequence[str]) -> str:
    """What `frame-ancestors` of a Content-Security-Policy (CSP 3, 6.4.2) is for a page that these may embed."""
    return " ".join(origins) or "'none'"

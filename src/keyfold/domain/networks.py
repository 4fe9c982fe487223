"""Source networks in CIDR form (RFC 4632, RFC 4291), and which of them an address is in.

An IPv4 address that is written as IPv6 (`::ffff:10.0.0.1`) counts as its IPv4 everywhere. The zone of an address
(`fe80::1%eth0`) names an interface of ours, not a network, and is ignored; a network has none.
"""

from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    ip_address,
    ip_interface,
)

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"


def network_fault(text: str) -> str | None:
    """What is wrong with the text of a network, as a sentence."""
    try:
        _network(text)
    except ValueError as error:
        return str(error)
    return None


def canonical(text: str) -> str:
    """The one form of a network: `10.0.0.1` is `10.0.0.1/32`. Raises `ValueError` with what is wrong."""
    return str(_network(text))


def includes(networks: tuple[str, ...], address: str) -> bool:
    """Whether the address is in one of the networks; one that can't be read is in none.

    Raises `ValueError` for what is no network.
    """
    this, those = host(address), _collapsed(networks)
    return this is not None and any(this in each for each in those)


def within(network: str, ceilings: tuple[str, ...]) -> bool:
    """Whether every address of the network is in one of the ceilings, not always the same one.

    Exact: a network that several ceilings fill together lies within the one that they collapse into. Raises
    `ValueError` for what is no network.
    """
    this = _network(network)
    return any(this.network_address in each and this.prefixlen >= each.prefixlen for each in _collapsed(ceilings))


def bounds(text: str) -> tuple[Address, Address]:
    """The first and the last address of a network; of an address, itself. Raises `ValueError` for what is neither."""
    this = None if "/" in text else host(text)
    if this is not None:
        return this, this
    network = _network(text)
    return network.network_address, network.broadcast_address


def address_group(address: str) -> str:
    """What counts as one address for limits: an IPv4 address, or the /64 of an IPv6 one, which a single host may have.

    Whatever can't be read is together one, `unknown`.
    """
    match host(address):
        case IPv4Address() as this:
            return str(this)
        case IPv6Address() as this:
            return str(IPv6Network((int(this), 64), strict=False))
        case None:
            return UNKNOWN


@lru_cache(maxsize=4096)
def host(text: str) -> Address | None:
    """The address in a text; None for a text that is none."""
    try:
        this = ip_address(text)
    except ValueError:
        return None
    if isinstance(this, IPv6Address):
        return this.ipv4_mapped or IPv6Address(int(this))
    return this


@lru_cache(maxsize=4096)
def _network(text: str) -> Network:
    _, slash, prefix = text.partition("/")
    try:
        this = ip_interface(text)
    except ValueError:
        this = None
    # ipaddress would take 10.0.0.0/255.0.0.0 and zones too
    if this is None or "%" in text or (slash and not prefix.isdigit()):
        raise ValueError("This is not a network, such as 10.0.0.0/8 or 2001:db8::/32.")
    network, first = this.network, this.network.network_address
    if isinstance(first, IPv6Address) and first.ipv4_mapped is not None:
        raise ValueError(f"This is IPv4 written as IPv6. Write {first.ipv4_mapped}/{network.prefixlen - 96}.")
    if this.ip != first:
        raise ValueError(f"This has bits beyond its prefix. Write {network}, or {this.ip} for the address alone.")
    return network


@lru_cache(maxsize=4096)
def _collapsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    """The fewest networks that have the same addresses."""
    all_of_them = [_network(each) for each in networks]
    v4 = collapse_addresses(each for each in all_of_them if isinstance(each, IPv4Network))
    v6 = collapse_addresses(each for each in all_of_them if isinstance(each, IPv6Network))
    return (*v4, *v6)

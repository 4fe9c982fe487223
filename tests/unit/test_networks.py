"""Source networks, against brute force on small ones."""

from ipaddress import IPv6Address, ip_network

import pytest
from hypothesis import given, settings, strategies

from keyfold.domain.networks import address_group, canonical, includes, network_fault, within

ADDRESSES = [f"10.0.0.{n}" for n in range(16)] + ["2001:db8::"] + [f"2001:db8::{n:x}" for n in range(1, 16)]
NETWORKS = strategies.tuples(strategies.sampled_from(ADDRESSES), strategies.integers(0, 5)).map(
    lambda each: str(ip_network((each[0], (128 if ":" in each[0] else 32) - each[1]), strict=False))
)
"""From one address to 32 of them: all that there are here, and as many beyond."""
SEVERAL = strategies.lists(NETWORKS, max_size=6).map(tuple)


def members(network: str) -> set[str]:
    return {str(each) for each in ip_network(network)}


@given(SEVERAL, strategies.sampled_from(ADDRESSES))
def test_networks_include_what_they_list(networks: tuple[str, ...], address: str) -> None:
    assert includes(networks, address) is any(address in members(each) for each in networks)


@settings(max_examples=300)
@given(NETWORKS, SEVERAL)
def test_within_says_what_trying_every_address_says(network: str, ceilings: tuple[str, ...]) -> None:
    assert within(network, ceilings) is (members(network) <= set().union(*map(members, ceilings)))


@pytest.mark.parametrize(
    ("network", "ceilings", "expected"),
    [
        ("10.0.0.0/8", ("10.0.0.0/9", "10.128.0.0/9"), True),
        ("10.0.0.0/8", ("10.0.0.0/9", "10.128.0.0/10"), False),
        ("10.0.0.0/8", ("10.192.0.0/10", "10.0.0.0/9", "10.128.0.0/10"), True),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("0.0.0.0/0", ("::/0",), False),
        ("2001:db8::/32", ("0.0.0.0/0", "2001:db8::/33", "2001:db8:8000::/33"), True),
        ("10.0.0.0/8", (), False),
    ],
)
def test_ceilings_count_together(network: str, ceilings: tuple[str, ...], expected: bool) -> None:
    assert within(network, ceilings) is expected


@pytest.mark.parametrize(
    ("networks", "address", "expected"),
    [
        (("10.0.0.0/8",), "10.255.255.255", True),
        (("10.0.0.0/8",), "11.0.0.0", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "::FFFF:0a01:0203", True),
        (("::/0",), "::ffff:10.1.2.3", False),
        (("::/0",), "10.1.2.3", False),
        (("0.0.0.0/0",), "2001:db8::1", False),
        (("2001:db8::/32", "10.0.0.1"), "10.0.0.1", True),
        (("2001:db8::/32", "10.0.0.1"), "2001:DB8::0001", True),
        (("fe80::/10",), "fe80::1%eth0", True),
        (("fe80::1",), "fe80::2%eth0", False),
        (("10.0.0.0/8",), "::ffff:10.1.2.3%eth0", True),
        ((), "10.0.0.1", False),
    ],
)
def test_an_address_counts_as_what_it_is(networks: tuple[str, ...], address: str, expected: bool) -> None:
    assert includes(networks, address) is expected


UNREADABLE = ["", "unknown", "10.0.0", "10.0.0.1:80", "[::1]", "10.0.0.1 ", "010.0.0.1", "10.0.0.1/32", "10.0.0.1%eth0"]


@pytest.mark.parametrize("address", UNREADABLE)
def test_what_cannot_be_read_is_in_no_network_and_in_one_group(address: str) -> None:
    assert not includes(("0.0.0.0/0", "::/0"), address)
    assert address_group(address) == "unknown"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1/32"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/08", "10.0.0.0/8"),
        ("2001:DB8:0::/32", "2001:db8::/32"),
        ("::1", "::1/128"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_has_one_form(text: str, expected: str) -> None:
    assert network_fault(text) is None
    assert canonical(text) == expected
    assert canonical(expected) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("10.1.2.3/8", "Write 10.0.0.0/8, or 10.1.2.3 for the address alone"),
        ("2001:db8::1/32", "Write 2001:db8::/32, or 2001:db8::1 for"),
        ("::ffff:10.0.0.0/104", "Write 10.0.0.0/8."),
        ("::ffff:10.1.2.3/104", "Write 10.0.0.0/8."),
        ("::ffff:10.0.0.1", "Write 10.0.0.1/32."),
        ("10.0.0.0/255.0.0.0", "not a network"),
        ("10.0.0.0/0.255.255.255", "not a network"),
        ("10.0.0.0/33", "not a network"),
        ("10.0.0.0/", "not a network"),
        ("10.0.0.0/-1", "not a network"),
        ("10.0.0.0/8/8", "not a network"),
        (" 10.0.0.0/8", "not a network"),
        ("10.0.0.0/٨", "not a network"),
        ("fe80::%eth0/64", "not a network"),
        ("fe80::1%eth0", "not a network"),
        ("example.com", "not a network"),
        ("", "not a network"),
    ],
)
def test_a_fault_says_what_was_probably_meant(text: str, says: str) -> None:
    assert says in str(network_fault(text))
    for ask in (lambda: canonical(text), lambda: within(text, ("::/0",)), lambda: includes((text,), "10.0.0.1")):
        with pytest.raises(ValueError, match="This "):
            ask()


@given(NETWORKS | strategies.text(alphabet="0123456789abcdef.:/%", max_size=12))
def test_a_network_has_a_form_or_a_fault(text: str) -> None:
    if network_fault(text) is None:
        assert ip_network(canonical(text)) == ip_network(text)
        assert within(canonical(text), (text,))
    else:
        with pytest.raises(ValueError):
            canonical(text)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_is_limited_with_its_group(address: str, group: str) -> None:
    assert address_group(address) == group


IPV6 = strategies.tuples(strategies.sampled_from([2**96, 2**64, 2**65, 3 * 2**64]), strategies.integers(0, 2**64 - 1))


@given(IPV6, IPV6)
def test_ipv6_addresses_are_limited_together_when_64_bits_are_the_same(
    one: tuple[int, int], other: tuple[int, int]
) -> None:
    groups = {address_group(str(IPv6Address(sum(each)))) for each in (one, other)}
    assert len(groups) == len({one[0], other[0]})

"""Which addresses and ports may be sent to."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.deliver.transport import AddressPolicy, FailureCode, Refusal, Target, parse_allow_target
from posthorn.deliver.transport.ranges import BLOCKED_PORTS, METADATA_ADDRESSES

STRICT = AddressPolicy()


def policy(*allow: str, **given: Any) -> AddressPolicy:
    return AddressPolicy(allow=tuple(map(ip_network, allow)), **given)


def code_of(checked: Target | Refusal | None) -> FailureCode | None:
    return checked.code if isinstance(checked, Refusal) else None


NOT_GLOBAL = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "127.0.0.1",
    "127.255.255.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1",
    "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "fec0::1", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_GLOBAL)
def test_an_address_that_is_not_global_is_refused_with_the_way_out(address: str) -> None:
    refused = STRICT.check_addresses([address], port=443)
    assert refused is not None
    assert refused.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert "--allow-target " in refused.detail


@pytest.mark.parametrize("address", [a for a in NOT_GLOBAL if "%" not in a])
def test_the_way_out_that_a_refusal_names_works_unless_the_address_hides_another(address: str) -> None:
    refused = STRICT.check_addresses([address], port=443)
    assert refused is not None
    named = parse_allow_target(refused.detail.rpartition("--allow-target ")[2].rstrip("."))
    assert named is not None
    again = AddressPolicy(allow=(named,)).check_addresses([address], port=443)
    hides_private = address in {
        "64:ff9b::10.0.0.1",
        "2001::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2002:7f00:1::",
    }
    assert (again is not None and again.code is FailureCode.ADDRESS_NOT_ALLOWED) is hides_private


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "172.32.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_a_global_address_is_allowed(address: str) -> None:
    assert STRICT.check_addresses([address], port=443) is None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_whatever_the_standard_library_calls_private_is_refused(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert STRICT.check_addresses([str(address)], port=443) is not None


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_ipv6_address_outside_global_unicast_is_allowed(address: IPv6Address) -> None:
    if int(address) >> 125 != 1 or not address.is_global:
        assert STRICT.check_addresses([str(address)], port=443) is not None


@given(st.integers(0, 2**32 - 1).map(IPv4Address))
def test_a_mapped_address_is_judged_as_the_address_that_it_maps(address: IPv4Address) -> None:
    plain = STRICT.check_addresses([str(address)], port=443)
    mapped = STRICT.check_addresses([f"::ffff:{address}"], port=443)
    assert plain == mapped


@pytest.mark.parametrize("address", sorted(map(str, METADATA_ADDRESSES)))
def test_a_metadata_service_opens_only_to_an_entry_for_exactly_its_address(address: str) -> None:
    assert code_of(policy("0.0.0.0/0", "::/0").check_addresses([address], port=80)) is FailureCode.ADDRESS_NOT_ALLOWED
    assert policy(address).check_addresses([address], port=80) is None


def test_a_metadata_service_is_found_inside_translating_addresses() -> None:
    open_nat64 = policy("64:ff9b::/96", "169.254.0.0/16")
    assert code_of(open_nat64.check_addresses(["64:ff9b::169.254.169.254"], port=80)) is not None
    assert open_nat64.check_addresses(["64:ff9b::8.8.8.8"], port=80) is None
    assert code_of(policy("2002::/16").check_addresses(["2002:a9fe:a9fe::1"], port=80)) is not None


def test_one_refused_address_refuses_all_and_none_at_all_is_refused_too() -> None:
    assert STRICT.check_addresses(["8.8.8.8", "2606:4700::1111"], port=443) is None
    assert STRICT.check_addresses(["8.8.8.8", "10.0.0.1"], port=443) is not None
    assert STRICT.check_addresses(["8.8.8.8", "not an address"], port=443) is not None
    assert code_of(STRICT.check_addresses([], port=443)) is FailureCode.DNS_FAILED


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/", "http://127.0.0.1:8080/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest", "http://localhost/", "http://LOCALHOST./", "https://api.localhost:8443/x",
        "http://0.0.0.0/", "http://[fd00::1]/", "http://[64:ff9b::a00:1]/",
    ],
)  # fmt: skip
def test_a_private_host_is_refused_when_the_url_is_saved(url: str) -> None:
    assert code_of(STRICT.check_url(url)) is FailureCode.ADDRESS_NOT_ALLOWED


def test_an_allow_entry_opens_its_network_and_no_other() -> None:
    inside = policy("10.0.0.0/8")
    assert isinstance(inside.check_url("http://10.1.2.3:6379/"), Target)
    assert isinstance(inside.check_url("http://[::ffff:10.1.2.3]/"), Target)
    assert code_of(inside.check_url("http://192.168.0.1/")) is FailureCode.ADDRESS_NOT_ALLOWED
    assert code_of(inside.check_url("http://localhost/")) is FailureCode.ADDRESS_NOT_ALLOWED
    assert isinstance(policy("127.0.0.0/8").check_url("http://localhost:9000/"), Target)
    assert isinstance(policy("::1/128").check_url("http://hooks.localhost/"), Target)


def test_a_public_url_is_taken_apart() -> None:
    target = STRICT.check_url("https://example.com/hook?x=1")
    assert isinstance(target, Target)
    assert (target.host, target.port, target.raw_target) == ("example.com", 443, b"/hook?x=1")


@pytest.mark.parametrize("port", [22, 25, 6379, 11211, 5432, 6667, 10250])
def test_a_port_of_another_protocol_is_refused(port: int) -> None:
    assert port in BLOCKED_PORTS
    assert code_of(STRICT.check_url(f"http://example.com:{port}/")) is FailureCode.PORT_NOT_ALLOWED
    assert code_of(STRICT.check_url(f"http://8.8.8.8:{port}/")) is FailureCode.PORT_NOT_ALLOWED
    assert code_of(STRICT.check_addresses(["8.8.8.8"], port=port)) is FailureCode.PORT_NOT_ALLOWED


@pytest.mark.parametrize("port", [80, 443, 3000, 8000, 8080, 8443, 65535])
def test_ports_where_http_is_served_are_open(port: int) -> None:
    assert port not in BLOCKED_PORTS
    assert isinstance(STRICT.check_url(f"http://example.com:{port}/"), Target)


def test_a_list_of_allowed_ports_replaces_the_default_rule() -> None:
    narrow = AddressPolicy(allowed_ports=frozenset({443}))
    assert isinstance(narrow.check_url("https://example.com/"), Target)
    refused = narrow.check_url("https://example.com:8443/")
    assert code_of(refused) is FailureCode.PORT_NOT_ALLOWED
    assert isinstance(refused, Refusal)
    assert "443" in refused.detail


def test_every_address_must_be_allow_listed_for_a_closed_port_to_open() -> None:
    inside = policy("10.0.0.0/8")
    assert inside.check_addresses(["10.0.0.1", "10.0.0.2"], port=6379) is None
    assert code_of(inside.check_addresses(["10.0.0.1", "8.8.8.8"], port=6379)) is FailureCode.PORT_NOT_ALLOWED
    # Until the name is looked up, it may lead into the allowed network.
    assert isinstance(inside.check_url("http://cache.internal:6379/"), Target)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        (" 192.168.1.7 ", "192.168.1.7/32"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("fd00::/8", "fd00::/8"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
    ],
)
def test_an_allow_target_is_an_address_or_a_network(text: str, network: str) -> None:
    assert parse_allow_target(text) == ip_network(network)


@pytest.mark.parametrize("text", ["", "example.com", "10.0.0.0/33", "10.0.0", "1.2.3.4:80"])
def test_anything_else_is_no_allow_target(text: str) -> None:
    assert parse_allow_target(text) is None

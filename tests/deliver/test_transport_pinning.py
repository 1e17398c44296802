"""Where a name leads is checked for every connection, and the connection goes nowhere else."""

from ipaddress import ip_network

import pytest
from loopback_world import OK, NewClient, Receivers, TableResolver, always, once_then_close, to

from posthorn.deliver.transport import (
    AddressPolicy,
    FailureCode,
    NotResolved,
)

PRIVATE = "10.1.2.3"


async def test_a_name_is_looked_up_once_and_connected_to_at_the_checked_address(
    receive: Receivers, client_with: NewClient
) -> None:
    resolver = TableResolver({"hook.test": [("127.0.0.1",)]})
    receiver = await receive(always(OK))
    response = await client_with(resolver=resolver).send(to(receiver.url(host="hook.test")))
    assert response.peer_address == "127.0.0.1"
    assert resolver.asked == ["hook.test"]
    assert b"\r\nHost: hook.test:%d\r\n" % receiver.port in receiver.requests[0].head


@pytest.mark.parametrize(
    "addresses",
    [
        (PRIVATE,),
        ("127.0.0.1", PRIVATE),
        (PRIVATE, "127.0.0.1"),
        ("127.0.0.1", "169.254.169.254"),
        ("127.0.0.1", "::ffff:10.1.2.3"),
        ("127.0.0.1", "fe80::1%eth0"),
        ("127.0.0.1", "nonsense"),
    ],
)
async def test_one_refused_address_among_a_names_addresses_refuses_them_all(
    receive: Receivers, client_with: NewClient, addresses: tuple[str, ...]
) -> None:
    client = client_with(resolver=TableResolver({"mixed.test": [addresses]}))
    receiver = await receive(always(OK))
    failure = await client.send(to(receiver.url(host="mixed.test")))
    assert failure.code is FailureCode.ADDRESS_NOT_ALLOWED
    assert PRIVATE not in failure.detail
    assert receiver.connections == 0


async def test_a_name_that_is_rebound_to_a_private_address_is_refused_on_its_next_connection(
    receive: Receivers, client_with: NewClient
) -> None:
    resolver = TableResolver({"rebind.test": [("127.0.0.1",), (PRIVATE,)]})
    client = client_with(resolver=resolver)
    receiver = await receive(always(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    url = receiver.url(host="rebind.test")
    assert (await client.send(to(url))).status == 200
    assert (await client.send(to(url))).code is FailureCode.ADDRESS_NOT_ALLOWED
    assert resolver.asked == ["rebind.test"] * 2
    assert receiver.connections == 1


async def test_the_replacement_of_a_dead_connection_is_checked_again(
    receive: Receivers, client_with: NewClient
) -> None:
    client = client_with(resolver=TableResolver({"rebind.test": [("127.0.0.1",), (PRIVATE,)]}))
    receiver = await receive(once_then_close(OK))
    url = receiver.url(host="rebind.test")
    assert (await client.send(to(url))).status == 200
    assert (await client.send(to(url))).code is FailureCode.ADDRESS_NOT_ALLOWED


async def test_loopback_is_refused_without_an_allow_entry(receive: Receivers, client_with: NewClient) -> None:
    client = client_with(policy=AddressPolicy(), resolver=TableResolver({"hook.test": [("127.0.0.1",)]}))
    receiver = await receive(always(OK))
    for host in ("127.0.0.1", "localhost", "hook.test"):
        failure = await client.send(to(receiver.url(host=host)))
        assert failure.code is FailureCode.ADDRESS_NOT_ALLOWED
        assert "--allow-target 127.0.0.0/8" in failure.detail
    assert receiver.connections == 0


async def test_the_next_address_is_tried_when_one_refuses(receive: Receivers, client_with: NewClient) -> None:
    # The receiver listens on 127.0.0.1 alone; the other loopback addresses refuse.
    client = client_with(resolver=TableResolver({"two.test": [("127.0.0.2", "127.0.0.1")]}))
    receiver = await receive(always(OK))
    response = await client.send(to(receiver.url(host="two.test")))
    assert (response.status, response.peer_address) == (200, "127.0.0.1")


async def test_when_every_address_refuses_the_last_refusal_is_told(receive: Receivers, client_with: NewClient) -> None:
    client = client_with(resolver=TableResolver({"two.test": [("127.0.0.2", "127.0.0.3")]}))
    receiver = await receive(always(OK))
    failure = await client.send(to(receiver.url(host="two.test")))
    assert failure.code is FailureCode.CONNECTION_REFUSED


@pytest.mark.parametrize(("is_temporary", "hint"), [(True, True), (False, False)])
async def test_a_name_without_addresses_is_a_dns_failure(
    client_with: NewClient, is_temporary: bool, hint: bool
) -> None:
    client = client_with(resolver=TableResolver({"none.test": [NotResolved(is_temporary=is_temporary)]}))
    failure = await client.send(to("http://none.test/"))
    assert failure.code is FailureCode.DNS_FAILED
    assert ("temporary" in failure.detail) is hint


async def test_an_empty_answer_is_a_dns_failure(client_with: NewClient) -> None:
    client = client_with(resolver=TableResolver({"none.test": [()]}))
    assert (await client.send(to("http://none.test/"))).code is FailureCode.DNS_FAILED


async def test_a_database_port_is_refused_unless_the_name_leads_into_an_allowed_network(client_with: NewClient) -> None:
    client = client_with(
        policy=AddressPolicy(allow=(ip_network("127.0.0.2/32"),)),
        resolver=TableResolver({"public.test": [("93.184.215.14",)], "inside.test": [("127.0.0.2",)]}),
    )
    assert (await client.send(to("http://public.test:6379/"))).code is FailureCode.PORT_NOT_ALLOWED
    # Port 11 of an allowed address may be tried; nothing listens there.
    assert (await client.send(to("http://inside.test:11/"))).code is FailureCode.CONNECTION_REFUSED


async def test_the_system_resolver_finds_localhost_and_the_client_uses_it(
    receive: Receivers, client_with: NewClient
) -> None:
    client = client_with(policy=AddressPolicy(allow=(ip_network("127.0.0.0/8"), ip_network("::1/128"))))
    receiver = await receive(always(OK))
    response = await client.send(to(receiver.url(host="localhost")))
    # Where localhost has an IPv6 address too, that one is tried first and refuses.
    assert (response.status, response.peer_address) == (200, "127.0.0.1")
    assert response.timings.dns_us > 0

"""Our own inbox is no target: what is sent there would come in again."""

import pytest

from posthorn.deliver.transport import AddressPolicy, Refusal
from posthorn.deliver.transport.addresses import parse_allow_target

LOCAL = parse_allow_target("127.0.0.0/8")
assert LOCAL is not None


@pytest.mark.parametrize(
    ("own", "url"),
    [
        (("hooks.example.test", 443), "https://Hooks.Example.test./in/token"),
        (("hooks.example.test", 8601), "http://hooks.example.test:8601/"),
        (("127.0.0.1", 8601), "http://127.0.0.1:8601/in/token"),
    ],
)
def test_the_own_inbox_is_refused_also_where_its_network_is_allowed(own: tuple[str, int], url: str) -> None:
    refused = AddressPolicy(allow=(LOCAL,), own_inbox=own).check_url(url)
    assert isinstance(refused, Refusal)
    assert (refused.code, "own inbox" in refused.detail) == ("address_not_allowed", True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8600/", "http://127.0.0.2:8601/", "https://example.test:8601/"])
def test_other_hosts_and_ports_are_not_the_own_inbox(url: str) -> None:
    assert not isinstance(AddressPolicy(allow=(LOCAL,), own_inbox=("127.0.0.1", 8601)).check_url(url), Refusal)

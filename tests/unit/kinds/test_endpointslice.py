"""EndpointSlice: addresses that are none are refused, so that nobody tries to connect to them."""

import pytest

from bessemer.kinds import meta
from bessemer.kinds.endpointslice import ENDPOINT_SLICE


@pytest.mark.parametrize(
    ("type_", "address", "taken"),
    [
        ("IPv4", "127.0.0.1", True),
        ("IPv6", "::1", True),
        ("FQDN", "example.com", True),
        ("IPv4", "999.1.1.1", False),
        ("IPv4", "::1", False),
        ("IPv4", "example.com", False),
        ("IPv6", "127.0.0.1", False),
    ],
)
def test_an_address_is_of_the_slices_family(type_: str, address: str, *, taken: bool) -> None:
    endpoints = [{"addresses": ["127.0.0.1" if type_ == "IPv4" else address, address]}]
    entry = meta.new(ENDPOINT_SLICE, "a", "team", addressType=type_, endpoints=endpoints)
    assert ENDPOINT_SLICE.validate is not None
    fields = [cause.field for cause in ENDPOINT_SLICE.validate(entry, None)]
    assert (fields == []) is taken
    assert taken or "endpoints[0].addresses[1]" in fields

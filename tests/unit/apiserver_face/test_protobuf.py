"""Protobuf bodies, as kubectl's create and auth send them: real bytes in, JSON out."""

import base64

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bessemer.cluster.apiserver import protobuf
from bessemer.kube.errors import BadRequest

PROTOBUF = {"content-type": protobuf.CONTENT_TYPE}


def varint(value):
    data = b""
    while value > 0x7F:
        data += bytes([value & 0x7F | 0x80])
        value >>= 7
    return data + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version, kind, raw):
    head = field(1, api_version) + field(2, kind)
    return b"k8s\x00" + field(1, head) + field(2, raw) + field(3, "") + field(4, "")


def secret():
    metadata = field(1, "s") + field(8, b"") + field(11, field(1, "k") + field(2, "v"))
    entry = field(1, "a") + field(2, b"\x00\xff")
    return envelope("v1", "Secret", field(1, metadata) + field(2, entry) + field(5, 0))


def test_maps_bytes_and_empty_times():
    assert protobuf.decode(secret()) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"k": "v"}},
        "data": {"a": base64.b64encode(b"\x00\xff").decode()},
        "immutable": False,
    }


def test_embedded_structs_and_int_or_string():
    port = field(1, "web") + field(3, 80) + field(4, field(1, 1) + field(3, "http"))
    found = protobuf.decode(envelope("v1", "Service", field(2, field(1, port))))

    assert found["spec"]["ports"] == [{"name": "web", "port": 80, "targetPort": "http"}]
    volume = field(1, "v") + field(2, field(2, b""))
    pod = protobuf.decode(envelope("v1", "Pod", field(2, field(1, volume))))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_a_lease_s_times_keep_their_fractions():
    moment = field(1, 1_767_225_600) + field(2, 250_000_000)
    found = protobuf.decode(
        envelope("coordination.k8s.io/v1", "Lease", field(2, field(4, moment)))
    )

    assert found["spec"] == {"renewTime": "2026-01-01T00:00:00.250000Z"}


async def test_a_secret_by_protobuf(world):
    path = "/api/v1/namespaces/default/secrets"

    reply = await world.ask("POST", path, secret(), headers=PROTOBUF)

    assert reply.status == 201
    assert (await world.ask("GET", f"{path}/s")).json["data"] == {"a": "AP8="}


@pytest.mark.parametrize(
    "body", [b"", b"k8s", b"k8s\x00\xff", envelope("v1", "Unheard", b""), secret()[:-30]]
)
async def test_what_can_not_be_read_is_a_bad_request(world, body):
    path = "/api/v1/namespaces/default/secrets"

    reply = await world.ask("POST", path, body, headers=PROTOBUF)

    assert reply.status == 400


@given(st.binary(max_size=60))
@example(b"\x08\x00")
def test_no_bytes_do_more_than_be_refused(data):
    try:
        found = protobuf.decode(envelope("v1", "Pod", data))
    except BadRequest:
        return
    assert found["kind"] == "Pod"

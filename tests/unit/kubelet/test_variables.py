"""Environment variables and $(VAR), as upstream resolves them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.app.images import IMAGES
from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods import spec
from bessemer.cluster.kubelet.volumes import variables
from bessemer.cluster.kubelet.volumes.variables import NodeFacts, expand, resolve
from bessemer.kinds import meta
from bessemer.kinds.kind import Object
from bessemer.kinds.pod import POD

FACTS = NodeFacts("n1", "127.0.0.1", "127.9.128.7", {"cpu": "2", "memory": "1Gi"})
SECRET = {"data": {"key": base64.b64encode(b"s3cret").decode()}}
CONFIG = {"data": {"A": "1", "B": "two"}, "binaryData": {"C": base64.b64encode(b"bin").decode()}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$(NONE)", "$(NONE)"), ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"), ("$A", "$A"), ("$", "$"), ("$$", "$"), ("$(A", "$(A"), ("$()", "$()"),
        ('"$0" "$@"', '"$0" "$@"'), ("$(command -v pip)", "$(command -v pip)"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@given(st.text(st.characters(exclude_characters="$")))
def test_text_without_a_dollar_stays(text: str) -> None:
    assert expand(text, {"A": "1"}) == text


def pod(**container: Any) -> tuple[Object, Object]:
    spec = {"name": "main", **container}
    obj = meta.new(POD, "p", "ns", labels={"app": "x"}, spec={"containers": [spec]})
    obj["metadata"]["uid"] = "u-1"
    return obj, spec


def env(referred: variables.Referred | None = None, **container: Any) -> dict[str, str]:
    obj, spec = pod(**container)
    return resolve(obj, spec, FACTS, referred or {}, {"BASE": "b"})


def test_later_variables_see_earlier_ones() -> None:
    given_ = [
        {"name": "X", "value": "$(BASE)-$(Y)"},
        {"name": "Y", "value": "$(X)!"},
        {"name": "Z"},
    ]
    assert env(env=given_) == {"BASE": "b", "X": "b-$(Y)", "Y": "b-$(Y)!", "Z": ""}


def test_whole_objects_with_a_prefix_and_env_on_top() -> None:
    sources = [{"configMapRef": {"name": "c"}, "prefix": "P_"}, {"secretRef": {"name": "s"}}]
    values = env(
        {("ConfigMap", "c"): CONFIG, ("Secret", "s"): SECRET},
        envFrom=sources, env=[{"name": "P_A", "value": "mine"}],
    )  # fmt: skip
    assert values == {"BASE": "b", "P_A": "mine", "P_B": "two", "P_C": "bin", "key": "s3cret"}


def source(**source: Any) -> list[Object]:
    return [{"name": "V", "valueFrom": source}]


def test_single_keys() -> None:
    known = {("Secret", "s"): SECRET}
    assert env(known, env=source(secretKeyRef={"name": "s", "key": "key"}))["V"] == "s3cret"


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, 'secret "s" not found'),
        ({("Secret", "s"): SECRET}, "couldn't find key no in Secret ns/s"),
    ],
)
def test_what_is_missing_is_named_unless_optional(known: Any, message: str) -> None:
    reference = {"name": "s", "key": "no"}
    with pytest.raises(StartFailure, match=message) as caught:
        env(known, env=source(secretKeyRef=reference))
    assert caught.value.reason == "CreateContainerConfigError"
    assert "V" not in env(known, env=source(secretKeyRef={**reference, "optional": True}))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"), ("metadata.namespace", "ns"), ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "x"), ("metadata.labels", 'app="x"'),
        ("metadata.annotations['none']", ""), ("spec.nodeName", "n1"),
        ("status.podIP", "127.9.128.7"), ("status.hostIP", "127.0.0.1"),
        ("spec.serviceAccountName", "default"),
    ],
)  # fmt: skip
def test_fields(path: str, expected: str) -> None:
    assert env(env=source(fieldRef={"fieldPath": path}))["V"] == expected


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(StartFailure, match=r"got 'spec\.volumes'"):
        env(env=source(fieldRef={"fieldPath": "spec.volumes"}))


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "500"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.cpu"}, "0"),
    ],
)
def test_resource_fields(reference: Object, expected: str) -> None:
    resources = {"limits": {"cpu": "500m"}}
    values = env(resources=resources, env=source(resourceFieldRef=reference))
    assert values["V"] == expected


def test_references_are_found_everywhere() -> None:
    obj, _ = pod(
        envFrom=[{"secretRef": {"name": "s1"}}],
        env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}],
    )
    obj["spec"]["volumes"] = [
        {"name": "a", "configMap": {"name": "c2"}},
        {"name": "b", "secret": {"secretName": "s2"}},
        {"name": "c", "projected": {"sources": [{"secret": {"name": "s3"}}]}},
    ]
    assert variables.references(obj) == {
        ("Secret", "s1"), ("Secret", "s2"), ("Secret", "s3"),
        ("ConfigMap", "c1"), ("ConfigMap", "c2"),
    }  # fmt: skip


def test_services_are_told_by_variables() -> None:
    ports = [{"name": "web-ui", "port": 80}, {"port": 53, "protocol": "UDP"}]
    first = {"metadata": {"name": "my-db"}, "spec": {"clusterIP": "127.9.0.5", "ports": ports}}
    headless = {"metadata": {"name": "no"}, "spec": {"clusterIP": "None", "ports": ports}}
    bare = {"metadata": {"name": "bare"}, "spec": {"clusterIP": "127.9.0.6"}}
    assert variables.service_links([first, headless, bare]) == {
        "MY_DB_SERVICE_HOST": "127.9.0.5",
        "MY_DB_SERVICE_PORT": "80",
        "MY_DB_SERVICE_PORT_WEB_UI": "80",
        "MY_DB_PORT": "tcp://127.9.0.5:80",
        "MY_DB_PORT_80_TCP": "tcp://127.9.0.5:80",
        "MY_DB_PORT_80_TCP_PROTO": "tcp",
        "MY_DB_PORT_80_TCP_PORT": "80",
        "MY_DB_PORT_80_TCP_ADDR": "127.9.0.5",
        "MY_DB_PORT_53_UDP": "udp://127.9.0.5:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "127.9.0.5",
    }


def doubled(times: int) -> list[dict[str, str]]:
    """Variables each of which stands for the one before it twice."""
    first = [{"name": "E0", "value": "x" * 1000}]
    return first + [
        {"name": f"E{number}", "value": f"$(E{number - 1})" * 2} for number in range(1, times)
    ]


def test_variables_that_double_are_refused_by_name_and_size() -> None:
    with pytest.raises(StartFailure, match=r"variable E13 has 8192000 .* may have 8388608") as why:
        env(env=doubled(200))
    assert why.value.reason == "CreateContainerConfigError"
    assert len(env(env=doubled(12))["E11"]) == 2048 * 1000


def test_a_value_may_not_be_taken_without_end() -> None:
    big = {("ConfigMap", "c"): {"data": {"k": "x" * (1 << 20), "unused": "y"}}}
    source = {"configMapKeyRef": {"name": "c", "key": "k"}}
    many = [{"name": f"V{number}", "valueFrom": source} for number in range(9)]

    with pytest.raises(StartFailure, match="variable V7 has 1048580 characters"):
        env(big, env=many)
    with pytest.raises(StartFailure, match="may have 8388608 together"):
        env(big, envFrom=[{"configMapRef": {"name": "c"}, "prefix": f"P{n}"} for n in range(9)])


def test_a_command_shares_the_room_with_the_variables() -> None:
    obj, container = pod(command=["sh", "-c", "$(BIG)$(BIG)$(BIG)"])
    big = {"BIG": "x" * 3_000_000}

    with pytest.raises(StartFailure, match=r"word 2 of the command has 9000000 characters"):
        spec.command(container, IMAGES.resolve("python:3.11"), big)
    assert obj


class Scanned(str):
    """A text that counts the looks for a closing parenthesis."""

    __slots__ = ()
    finds = 0

    def find(self, *arguments: Any) -> int:
        type(self).finds += arguments[0] == ")"
        return super().find(*arguments)


def test_openings_without_an_end_are_not_looked_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scanned, "finds", 0)
    text = Scanned("()" + "$(" * 10_000)

    assert expand(text, {}) == text
    assert Scanned.finds == 0

"""What only the https client does: identities, trust, silence, kubeconfigs."""

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

from bessemer.base.errors import BessemerError
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.rbac import ROLE
from bessemer.kube import http
from bessemer.kube.client import EventType
from bessemer.kube.errors import ServiceUnavailable, Unauthorized


def make_kubeconfig(face: Any, **user: object) -> Object:
    ca = base64.b64encode(face.ca.encode()).decode()
    return {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {"server": face.server, "certificate-authority-data": ca}}
        ],
        "users": [{"name": "u", "user": user}],
    }


async def test_a_kubeconfigs_token_opens_the_door(face: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(face.token + "\n")
    for user in ({"token": face.token}, {"tokenFile": str(file)}):
        client = http.from_kubeconfig(make_kubeconfig(face, **user))
        assert (await client.get(NAMESPACE, "default"))["status"]["phase"] == "Active"
        await client.close()


async def test_a_wrong_token_is_unauthorized(face: Any) -> None:
    for token in ("", "wrong"):
        client = http.HttpClient(face.server, token, http.trust(face.ca))
        with pytest.raises(Unauthorized):
            await client.get(NAMESPACE, "default")
        await client.close()


async def test_a_server_of_another_ca_is_not_talked_to(face: Any) -> None:
    client = http.HttpClient(face.server, face.token)
    with pytest.raises(ServiceUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        await client.get(NAMESPACE, "default")
    await client.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = http.HttpClient(f"https://127.0.0.1:{port}", "t")
    with pytest.raises(ServiceUnavailable, match=f"127.0.0.1:{port} does not answer"):
        await client.list(CONFIG_MAP)
    with pytest.raises(ServiceUnavailable):
        await anext(aiter(client.watch(CONFIG_MAP, since="1")))
    await client.close()


async def test_a_pods_identity_is_read_from_its_files(
    face: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _, port = face.server.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    (tmp_path / "token").write_text(face.token)
    (tmp_path / "ca.crt").write_text(face.ca)
    client = http.from_pod(tmp_path)
    assert meta.name(await client.get(NAMESPACE, "default")) == "default"
    await client.close()


async def test_a_closed_watch_frees_its_connection(face: Any) -> None:
    since = (await face.client.list(CONFIG_MAP)).resource_version
    await face.client.create(CONFIG_MAP, meta.new(CONFIG_MAP, "a", "default"))
    events = face.client.watch(CONFIG_MAP, since=since)
    assert (await anext(events)).type is EventType.ADDED
    await events.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(events)


def test_a_login_that_we_do_not_do_is_named(tmp_path: Path) -> None:
    class Face:
        server, ca = "https://127.0.0.1:1", ""

    with pytest.raises(BessemerError, match="logs in by exec, which is not supported"):
        http.from_kubeconfig(make_kubeconfig(Face(), exec={"command": "aws"}))
    with pytest.raises(BessemerError, match="no entry 'gone' in contexts"):
        http.from_kubeconfig({**make_kubeconfig(Face()), "current-context": "gone"})


def test_paths_are_upstreams() -> None:
    assert http.path(NAMESPACE, "", "a") == "/api/v1/namespaces/a"
    assert http.path(CONFIG_MAP) == "/api/v1/configmaps"
    assert http.path(DEPLOYMENT, "n", "a", "status") == (
        "/apis/apps/v1/namespaces/n/deployments/a/status"
    )


async def test_a_name_of_odd_signs_is_that_object_s_alone(face: Any) -> None:
    for name in ("a", "a?b", "a#b", "a b:c"):
        await face.client.create(ROLE, meta.new(ROLE, name, "default"))
    for name in ("a?b", "a#b", "a b:c"):
        assert meta.name(await face.client.get(ROLE, name, "default")) == name
        await face.client.delete(ROLE, name, "default")
    (left,) = (await face.client.list(ROLE)).items
    assert meta.name(left) == "a"

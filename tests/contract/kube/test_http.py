"""What only the https client does: identities, trust, silence, kubeconfigs."""

import base64
import socket
from pathlib import Path
from typing import Any

import pytest

from bessemer.app import kubeaccess
from bessemer.base.clock import SystemClock
from bessemer.base.errors import BessemerError
from bessemer.kinds import meta
from bessemer.kinds.configmap import CONFIG_MAP
from bessemer.kinds.deployment import DEPLOYMENT
from bessemer.kinds.kind import Object
from bessemer.kinds.namespace import NAMESPACE
from bessemer.kinds.rbac import ROLE
from bessemer.kube import http
from bessemer.kube.client import EventType, Selection
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
        client = kubeaccess.from_kubeconfig(make_kubeconfig(face, **user), SystemClock())
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
    client = kubeaccess.from_pod(SystemClock(), tmp_path)
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


class Nowhere:
    server, ca = "https://127.0.0.1:1", ""


LOGIN = {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"auth-provider": {}}, "logs in by auth-provider"),
        ({"token": "t", "as": "somebody"}, "asks for as, which is not supported"),
        ({"exec": {**LOGIN, "interactiveMode": "Always"}}, "wants to ask a person"),
        ({"exec": {**LOGIN, "apiVersion": "v1alpha1"}}, "must be of one of client.authentication"),
    ],
)
def test_a_login_that_we_do_not_do_is_named(user: dict[str, Any], words: str) -> None:
    with pytest.raises(BessemerError, match=words):
        kubeaccess.from_kubeconfig(make_kubeconfig(Nowhere(), **user), SystemClock())


def test_what_a_kubeconfig_lacks_is_named() -> None:
    config = {**make_kubeconfig(Nowhere()), "current-context": "gone"}
    with pytest.raises(BessemerError, match="no entry 'gone' in contexts"):
        kubeaccess.from_kubeconfig(config, SystemClock())


async def test_a_programs_token_opens_the_door_and_is_asked_for_again_when_it_is_refused(
    face: Any, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"stale\n{face.token}\n")
    script = (
        'cat > "$0.info" <<< "$KUBERNETES_EXEC_INFO"; token=$(head -n 1 "$0"); sed -i 1d "$0"; '
        'echo "{\\"apiVersion\\": \\"$V\\", \\"status\\": {\\"token\\": \\"$token\\"}}"'
    )
    env = [{"name": "V", "value": LOGIN["apiVersion"]}]
    login = {**LOGIN, "command": "bash", "args": ["-c", script, str(tokens)], "env": env}
    client = kubeaccess.from_kubeconfig(make_kubeconfig(face, exec=login), SystemClock())

    for _ in range(2):
        assert (await client.get(NAMESPACE, "default"))["status"]["phase"] == "Active"

    assert tokens.read_text() == ""
    assert '"interactive": false' in (tmp_path / "tokens.info").read_text()
    await client.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["false"], r"'false' failed \(1\)"),
        (["echo", "{}"], "must print an ExecCredential"),
        (["/none"], "can't be run"),
    ],
)
async def test_a_program_that_gives_no_token_says_why(command: list[str], words: str) -> None:
    login = {**LOGIN, "command": command[0], "args": command[1:]}
    client = kubeaccess.from_kubeconfig(make_kubeconfig(Nowhere(), exec=login), SystemClock())
    with pytest.raises(BessemerError, match=words):
        await client.get(NAMESPACE, "default")
    await client.close()


async def test_a_token_that_its_file_got_anew_counts(face: Any, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("stale")
    user = {"tokenFile": str(file)}
    client = kubeaccess.from_kubeconfig(make_kubeconfig(face, **user), SystemClock())
    with pytest.raises(Unauthorized):
        await client.get(NAMESPACE, "default")
    file.write_text(face.token)

    assert (await client.get(NAMESPACE, "default"))["status"]["phase"] == "Active"
    await client.close()


async def test_a_long_list_comes_in_pages_of_one_moment(
    face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_PAGE", 2)
    for number in range(5):
        await face.client.create(CONFIG_MAP, meta.new(CONFIG_MAP, f"m{number}", "default"))

    found = await face.client.list(CONFIG_MAP, Selection("default"))

    assert [meta.name(one) for one in found.items] == [f"m{number}" for number in range(5)]
    assert found.resource_version == (await face.client.list(NAMESPACE)).resource_version


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

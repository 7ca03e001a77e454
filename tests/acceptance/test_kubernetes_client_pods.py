"""What a pod's containers get, by the official ``kubernetes`` client: variables and volumes."""

import pytest

import harness
from kubernetes_session import Session

pytestmark = [
    harness.needs_sdks,
    pytest.mark.usefixtures("sandboxed"),
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubernetes-pods"),
]


def test_variables_from_everywhere(session: Session) -> None:
    assert session.play("variables") == {
        "KEY": "from the map",
        "PASSWORD": "from the secret",
        "OPTIONAL": None,
        "POD": "x",
        "LABEL": "web",
        "ACCOUNT": "default",
        "CPU": "2",  # rounded up to the divisor
        "MILLICPU": "250",
        "MEMORY": "64",
        "A": "the secret's A",  # the later source wins
        "B": "own",  # a variable of its own wins over sources
        "S": "from the secret",
        "PRE_A": "from the map",
        "PRE_B": "also",
        "JOINED": "own/from the secret/$(B)/$(NOWHERE)/$(LATER)",
        "LATER": "later",
        "EMPTY": "",
        "as the object says": True,
    }


def test_commands_and_their_folder(session: Session) -> None:
    assert session.play("commands") == {
        "args": "[one two][$(A)][$(NOWHERE)][xone twox][$A][$][$(A]",
        "command": "[one two]",
        "there": "/tmp\n",
        "mounted": "file\n",
    }


def test_init_containers_run_in_their_order(session: Session) -> None:
    assert session.play("init_containers") == {
        "log": ["first", "second", "third", "retried", "retried"],
        "reasons": ["Completed"] * 4,
        "restarts": [0, 0, 0, 1],
        "bad": {
            "phase": "Failed",
            "exit": 4,
            "log": "no\n",
            "main": "PodInitializing",
            "condition": "False",
        },
    }


def test_containers_of_a_pod_share_an_empty_folder(session: Session) -> None:
    assert session.play("shared_empty_dir") == {"said": "to question\n", "later": ""}


def test_a_config_map_changes_under_a_running_pod(session: Session) -> None:
    assert session.play("changing_config_map") == "440\nnew\nold"


def test_a_secret_as_files(session: Session) -> None:
    assert session.play("secret_volume") == [
        "password",
        "user",
        "secret words",
        "/one/deep/word",
        "400",
        "read-only",
    ]


def test_a_claim_is_kept_between_pods(session: Session) -> None:
    told = session.play("claims")

    assert told["log"] == ["kept", "inner", "read-only"]
    assert told["phase"] == "Bound"
    assert 'persistentvolumeclaim "none" not found' in told["lost"]


def test_a_projected_volume(session: Session) -> None:
    told = session.play("projected")

    # A token that others ask for must not open this API, so it is refused by name.
    refusal = told.pop("for others")
    assert (refusal["code"], refusal["reason"]) == (422, "Invalid")
    assert "serviceAccountToken.audience" in refusal["message"]
    assert told == {
        "lines": ["from the map", "from the secret", 'a="1"', 'b="two"'],
        "subject": True,
        "seconds": 1200,
        "pod": "x",
    }


def test_a_pod_finds_the_api_as_itself(session: Session) -> None:
    told = session.play("own_identity")

    assert told["log"] == [told["namespace"], "200", "403"]
    assert told["off"] == "nothing\n"

"""What a pod tells, by the official ``kubernetes`` client: logs, then and later, events."""

import pytest

import harness
from kubernetes_session import Session

pytestmark = [
    harness.needs_sdks,
    pytest.mark.usefixtures("sandboxed"),
    pytest.mark.timeout(180),
    pytest.mark.xdist_group("kubernetes-logs"),
]


def test_a_log_is_followed_while_it_is_written_and_kept(session: Session) -> None:
    assert session.play("following") == {
        "first": "one\n",
        "meanwhile": "Running",
        "rest": "two\nend\n",
        "after": "Succeeded",
        "kept": "one\ntwo\nend\n",
        "by watch": ["one", "two", "end"],
    }


def test_a_silent_log_is_followed_too(session: Session) -> None:
    assert session.play("silent") == {"status": 200, "rest": "late\n"}


def test_a_part_of_a_log(session: Session) -> None:
    assert session.play("parts") == {
        "all": 5,
        "tail": "line 4\nline 5\n",
        "tail of nothing": "",
        "tail of more": 5,
        "bytes": "line 1\nlin",
        "both": "line 4\nl",
        "this hour": 5,
        "this second": "",  # it was quiet for three before its end
        "no number": 400,
        "too little": [
            'PodLogOptions "x" is invalid: tailLines: Invalid value: -1: '
            "must be greater than or equal to 0",
            'PodLogOptions "x" is invalid: limitBytes: Invalid value: 0: must be greater than 0',
            'PodLogOptions "x" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0',
        ],
    }


def test_each_container_has_its_log(session: Session) -> None:
    told = session.play("containers")

    assert told["logs"] == ["I am i\n", "I am a\n", "I am b\n"]
    assert told["none"]["code"] == 400
    assert "a container name must be specified for pod x" in told["none"]["message"]
    assert "choose one of: [a b]" in told["none"]["message"]
    assert "init containers: [i]" in told["none"]["message"]
    assert told["unknown"]["code"] == 400
    assert "container z is not valid for pod x" in told["unknown"]["message"]
    assert told["absent"]["code"] == 404


def test_the_log_of_the_attempt_before(session: Session) -> None:
    told = session.play("previous")

    assert (told["now"], told["before"]) == (["run 1\n"], "run 0\n")
    assert told["waiting"] == ["run 1\n", "run 1\n"]  # both are the last that ended
    assert told["none"]["code"] == 400
    assert (
        'previous terminated container "main" in pod "once" not found' in told["none"]["message"]
    )


def test_without_a_start_there_is_no_log(session: Session) -> None:
    told = session.play("not_started")

    assert told["code"] == 400
    assert 'container "main" in pod "x" is waiting to start' in told["message"]
    assert "ImagePullBackOff" in told["message"]


def test_an_environment_that_is_built_shows_as_events(session: Session) -> None:
    told = session.play("building")

    assert told["log"] == "built\n"
    assert any("installing environment" in message for message in told["pulling"])
    assert any("installed environment" in message for message in told["pulled"])

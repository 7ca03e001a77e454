"""Who a container runs as."""

from __future__ import annotations

import pytest

from bessemer.cluster.kubelet.errors import StartFailure
from bessemer.cluster.kubelet.pods.spec import check_user
from bessemer.kinds.kind import Object


def pod(**context: bool) -> Object:
    return {"spec": {"securityContext": context}}


def test_root_must_not_run_what_asks_for_another_user() -> None:
    for declared, container in (
        (pod(runAsNonRoot=True), {}),
        (pod(), {"securityContext": {"runAsNonRoot": True}}),
    ):
        with pytest.raises(StartFailure, match="runAsNonRoot and image will run as root"):
            check_user(declared, container, 0)
        check_user(declared, container, 1000)


def test_the_container_s_own_wish_counts() -> None:
    check_user(pod(runAsNonRoot=True), {"securityContext": {"runAsNonRoot": False}}, 0)
    check_user({"spec": {}}, {}, 0)

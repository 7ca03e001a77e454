"""Two homes never have the same loopback network."""

from __future__ import annotations

import os
import sys

import pytest

from bessemer.app.folder import HomeError
from bessemer.app.network import COUNT, FIRST, Network

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="pods have addresses of their own on Linux only"
)


def test_a_kept_network_that_another_holds_is_refused_with_its_holder() -> None:
    first = Network(0)

    with pytest.raises(
        HomeError, match=rf"127\.{first.number}\.0\.0/16.*\(pid {os.getpid()}\) holds"
    ):
        Network(first.number)
    first.release()
    again = Network(first.number)

    assert again.number == first.number
    again.release()


def test_new_homes_share_none_until_all_are_held() -> None:
    held: list[Network] = []
    try:
        while len(held) <= COUNT:
            held.append(Network(0))
    except HomeError as error:
        said = str(error)
    finally:
        for one in held:
            one.release()
    numbers = [one.number for one in held]

    assert "hold them all" in said
    assert len(set(numbers)) == len(numbers) >= COUNT // 2  # other Bessemers may run beside
    assert set(numbers) <= set(range(FIRST, FIRST + COUNT))

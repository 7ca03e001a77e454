"""Keys that stand twice: told by their paths, whatever their number and length."""

from __future__ import annotations

import pytest

from bessemer.cluster.apiserver import duplicates


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        (b'{"a": 1, "b": {"a": 1}}', []),
        (b'{"a": 1, "a": 2, "a": 3}', ["a"]),
        (b'{"m": {"l": [{"a": 1, "a": 2}, {"b": {"c": 1, "c": 1}}]}}', ["m.l[0].a", "m.l[1].b.c"]),
        (b'{"a": {"x": 1}, "a": {"x": 1, "x": 2}}', ["a", "a.x"]),
    ],
)
def test_they_are_told_by_their_paths(body: bytes, paths: list[str]) -> None:
    assert duplicates.find(body) == paths


def test_a_long_key_over_many_is_not_written_out_for_each() -> None:
    inner = b",".join(b'"%d":1' % (number // 2) for number in range(100_000))
    body = b'{"' + b"q" * 1_500_000 + b'":{' + inner + b"}}"

    found = duplicates.find(body)

    assert len(found) == duplicates.MOST_FOUND
    assert max(map(len, found)) <= duplicates.MOST_PATH + 1
    assert found[0].startswith("qqq")
    assert found[0].endswith("…" + "q" * 126 + ".0")

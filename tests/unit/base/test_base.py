"""Times as Kubernetes writes them, names, and log lines."""

import io
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bessemer.base import ids, logs
from bessemer.base.clock import format_micro_time, format_time, parse_time

START = datetime(1970, 1, 2, tzinfo=UTC)
SECONDS = st.integers(10**6, 2 * 10**11).map(lambda micros: timedelta(microseconds=micros * 997))
OFFSETS = st.integers(-12 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.builds(lambda past, zone: (START + past).astimezone(zone), SECONDS, OFFSETS))
def test_a_time_is_read_as_it_was_written(moment: datetime) -> None:
    assert parse_time(format_micro_time(moment)) == moment
    assert parse_time(format_time(moment)) == moment.replace(microsecond=0)
    assert format_time(moment) == moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_time_without_a_zone_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"needs a zone.*'2026-11-23T18:40:01'.*Z"):
        parse_time("2026-11-23T18:40:01")


def test_hashed_names_depend_on_the_parts_and_their_borders() -> None:
    assert ids.hash_name("a", "b") == ids.hash_name("a", "b")
    assert ids.hash_name("a", "b") != ids.hash_name("ab", "")
    assert len(ids.hash_name("a", length=7)) == 7


def test_suffixes_differ() -> None:
    assert len({ids.make_suffix(8) for _ in range(200)}) == 200


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure(logging.INFO, stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_log_line_is_the_message_and_its_fields(lines: io.StringIO) -> None:
    logs.get("bessemer.cluster.kubelet").info(
        "pod started", extra=logs.fields(pod="a/b", why="two words")
    )

    (line,) = lines.getvalue().splitlines()
    assert line.endswith("INFO    cluster.kubelet pod started pod=a/b why='two words'")

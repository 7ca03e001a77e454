"""What a home keeps, and what people are told when it can't be used."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bessemer.app import folder
from bessemer.app.folder import Config, HomeError
from bessemer.base.home import HOME_VERSION, Home
from bessemer.cli import output


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    folder.prepare(made)
    return made


def test_a_home_is_its_owners_alone(home: Home) -> None:
    assert home.root.stat().st_mode & 0o777 == 0o700
    assert home.version_file.read_text().strip() == str(HOME_VERSION)


def test_preparing_again_changes_nothing(home: Home) -> None:
    (home.volumes / "kept").touch()

    folder.prepare(home)

    assert (home.volumes / "kept").exists()


@pytest.mark.parametrize("text", ["999", "soon"])
def test_a_version_that_is_not_ours_is_refused(home: Home, text: str) -> None:
    home.version_file.write_text(text)

    with pytest.raises(HomeError, match=text):
        folder.prepare(home)


def test_a_file_in_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(HomeError, match="no folder"):
        folder.prepare(Home(tmp_path / "home"))


def test_the_root_of_a_new_disk_can_be_a_home(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    home = Home(tmp_path)
    folder.prepare(home)
    assert home.version_file.exists()


def test_choices_are_kept(home: Home) -> None:
    assert folder.read_config(home) == Config()
    chosen = Config(port=7000, network=9)
    folder.write_config(home, chosen)

    assert folder.read_config(home) == chosen


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"port": "x", "network": 1}', '{"port": 1}', '{"port": 65534, "network": 7}'],
)
def test_broken_choices_are_named(home: Home, text: str) -> None:
    home.config.write_text(text)

    with pytest.raises(HomeError, match=r"config\.json"):
        folder.read_config(home)


def test_one_holds_the_lock_and_the_next_is_told_who(home: Home) -> None:
    lock = folder.Lock(home)
    lock.sign()
    pid = folder.holder(home)

    with pytest.raises(HomeError, match=f"pid {pid}"):
        folder.Lock(home)

    lock.release()
    assert folder.holder(home) == 0
    folder.Lock(home).release()


def test_who_holds_the_lock_unsigned_can_not_be_ended_or_asked(home: Home) -> None:
    """As prune does."""
    lock = folder.Lock(home)

    with pytest.raises(HomeError, match="bessemer prune"):
        folder.Lock(home)

    assert folder.holder(home) == 0
    lock.release()


def test_a_left_pid_is_no_holder(home: Home) -> None:
    home.lock.write_text("1\n")

    assert folder.holder(home) == 0


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "can't be written"),
        (errno.EACCES, "can't be read or written"),
        (errno.ENOSPC, "full"),
        (errno.EIO, "can't be used"),
    ],
)
def test_errors_of_the_system_are_told_in_words(home: Home, number: int, words: str) -> None:
    told = str(folder.unusable(home, OSError(number, "x")))

    assert words in told
    assert "--home" in told


def test_the_option_is_only_told_where_it_is_needed(home: Home) -> None:
    assert folder.option(folder.locate(folder.DEFAULT)) == ""
    assert folder.option(home) == f" --home {home.root}"
    assert folder.option(Home(home.root / "my $x")) == f" --home '{home.root / 'my $x'}'"


def test_sizes_are_for_people() -> None:
    assert [output.size(n) for n in (5, 2048, 3 << 20, 5 << 40)] == [
        "5 B",
        "2.0 KiB",
        "3.0 MiB",
        "5120.0 GiB",
    ]


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    output.rows([("a", "ready", "x"), ("longer", "down", "")], ("PART", "STATE", "DETAIL"))

    assert capsys.readouterr().out.splitlines() == [
        "PART    STATE  DETAIL",
        "a       ready  x",
        "longer  down",
    ]

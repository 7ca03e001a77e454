"""Commands on a home that is damaged, half there, oddly named or no home: one clear line."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import harness
from bessemer.app import folder
from bessemer.app.folder import Config
from bessemer.base.clock import SystemClock
from bessemer.base.home import Home
from bessemer.cluster.apiserver import certificates
from bessemer.cluster.store.file import ObjectFile

PODS = "/api/v1/namespaces/default/pods"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
# What a shell, a database's URL, or a list of words would each read otherwise.
ODD = "it's a höme ?x=1#%20 $(touch harm)"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("faults")) as one:
        yield one


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Made, and nothing runs on it."""
    made = Home(tmp_path / "home")
    folder.prepare(made)
    return made


def cli(home: Path, *arguments: str) -> harness.Ended:
    return harness.run(*arguments, "--home", str(home))


def the_line(ended: harness.Ended) -> str:
    """What it said of its failure, which must be one line and no traceback."""
    assert ended.code == 1, ended
    (line,) = ended.err.splitlines()
    assert line.startswith("error: ")
    return line


def test_any_path_can_be_a_home(tmp_path: Path) -> None:
    place = tmp_path / ODD
    with harness.bessemer(place) as one:
        claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        one.create(CLAIMS, {"metadata": {"name": "out"}, "spec": claim})
        container = {
            "name": "main",
            "image": "busybox",
            "command": ["sh", "-c", "echo here > /out/it"],
            "volumeMounts": [{"name": "out", "mountPath": "/out"}],
        }
        volume = {"name": "out", "persistentVolumeClaim": {"claimName": "out"}}
        spec = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
        if one.is_sandboxed:
            one.create(PODS, {"metadata": {"name": "writes"}, "spec": spec})
            one.until(PODS, lambda pods: pods[0]["status"].get("phase") == "Succeeded")
            written = one.home / "volumes" / "default" / "out" / "it"
            assert written.read_text() == "here\n"
        (hint,) = (line for line in one.lines if line.startswith("  for your shell"))
        told = subprocess.run(
            ["bash", "-euc", f'{hint.partition("shell")[2]}\ncat "$KUBECONFIG"'],
            env={**os.environ, "PATH": f"{harness.PROGRAM.parent}:{os.environ['PATH']}"},
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

        assert told.stdout == one.kubeconfig.read_text(), told.stderr
        assert cli(one.home, "status").code == 0
    # Nothing, like a database, lies beside it.
    assert list(tmp_path.iterdir()) == [place]
    assert list(place.iterdir()) == [one.home]


@pytest.mark.skipif(
    not Path("/proc/self/ns/user").exists(), reason="other users come from user namespaces here"
)
def test_a_person_who_is_not_root_is_told_what_is_forbidden(tmp_path: Path) -> None:
    """The same files, without root's right to all of them."""
    (tmp_path / "others").mkdir(mode=0o000)
    person = ["unshare", "--user", "--map-user=1000", "--map-group=1000", str(harness.PROGRAM)]
    if subprocess.run([*person, "-h"], capture_output=True, check=False).returncode:
        pytest.skip("this machine has no user namespaces")

    def ask(*arguments: str) -> str:
        done = subprocess.run([*person, *arguments], capture_output=True, text=True, check=False)
        return the_line(harness.Ended(done.returncode, done.stdout, done.stderr))

    for home in ("others", "others/home"):
        place = str(tmp_path / home)
        assert "can't be read or written" in ask("up", "--home", place)
        assert "can't be read or written" in ask("prune", "--home", place)
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) > 80:
        line = ask("up", "--home", str(tmp_path / "own"), "--port", "80")
        assert "1024 or above" in line


def test_a_folder_with_other_things_is_never_taken_for_a_home(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").touch()

    line = the_line(cli(tmp_path, "up"))

    assert "new or empty" in line
    assert "'thesis.tex'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def make_foreign() -> bytes:
    """A file of some other program that uses SQLite."""
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        db.execute("CREATE TABLE cookies (name TEXT)")
        return db.serialize()


FOREIGN = make_foreign()


def use(home: Home) -> None:
    """Leave what a Bessemer leaves that had a pod."""
    ObjectFile(home.objects).close()
    home.history.write_bytes(b"a history")
    (home.pods / "some uid").mkdir()


def damage_history(home: Home, data: bytes) -> None:
    ObjectFile(home.objects).close()
    home.history.write_bytes(data)


def objects_of(home: Home) -> bytes | None:
    """The file of the objects."""
    return home.objects.read_bytes() if home.objects.is_file() else None


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda home: home.config.write_text('{"port": 99999, "network": 7}'), "99999"),
        (lambda home: home.config.write_text('{"port": 7480, "network": 300}'), "300"),
        (lambda home: home.config.write_bytes(b"\xff\xfe"), "config.json"),
        (lambda home: home.config.mkdir(), "config.json can't be used (Is a directory)"),
        (lambda home: home.version_file.write_bytes(b"\xff\xfe"), "version must be a number"),
        (lambda home: home.kubeconfig.mkdir(), "kubeconfig can't be used (Is a directory)"),
        (lambda home: damage_history(home, bytes(4096)), "restore history.db"),
        (lambda home: damage_history(home, FOREIGN), "is another program's file (with cookies)"),
        (lambda home: home.objects.write_bytes(FOREIGN), "another program's file (with cookies)"),
        (lambda home: (use(home), home.objects.unlink()), "its objects.db, but that is missing"),
        (lambda home: (use(home), home.objects.write_bytes(b"")), "objects.db, but that is empty"),
        (lambda home: (use(home), os.truncate(home.objects, 4096)), "objects.db is damaged"),
        (lambda home: (use(home), os.truncate(home.objects, 99)), "objects.db is damaged"),
        (lambda home: (use(home), home.history.unlink()), "its history.db, but that is missing"),
        (lambda home: home.version_file.write_text("9" * 5000), "version must be a number"),
        (lambda home: home.objects.write_bytes(b"no database" * 400), "objects.db is damaged"),
        (lambda home: (home.keys / "ca.crt").touch(), "delete all but secrets.key"),
    ],
    ids=[
        "port", "network", "config", "config a folder", "version", "kubeconfig a folder",
        "history", "foreign history", "foreign objects", "no objects", "empty objects",
        "cut objects", "stump of objects", "no history", "long version", "objects", "ca.crt",
    ],
)  # fmt: skip
def test_a_damaged_home_is_told_with_the_cure(
    home: Home, damage: Callable[[Home], object], words: str
) -> None:
    damage(home)
    before = objects_of(home)

    assert words in the_line(cli(home.root, "up"))
    if "objects" in words or before == FOREIGN:
        assert objects_of(home) == before


@pytest.mark.parametrize("lost", [["ca.key", "apiserver.crt"], ["apiserver.key"]])
def test_lost_keys_are_made_anew_with_all_that_hangs_on_them(home: Home, lost: list[str]) -> None:
    certificates.ensure(home.keys, [harness.HOST], SystemClock())
    for name in lost:
        (home.keys / name).unlink()

    with harness.bessemer(home.root.parent) as one:
        assert cli(one.home, "status").code == 0


class Ahead(SystemClock):
    """As the machine's clock was before somebody set it back by an hour."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


def test_a_clock_that_was_set_back_is_told(home: Home) -> None:
    certificates.ensure(home.keys, [harness.HOST], Ahead())

    line = the_line(cli(home.root, "up"))

    assert "when the home's CA was made" in line
    assert "set the clock" in line


def test_doctor_tells_of_damage_and_of_all_the_rest(home: Home) -> None:
    home.config.write_text("{")
    home.version_file.write_text("999\n")

    ended = cli(home.root, "doctor")

    assert (ended.code, ended.err) == (1, "")
    assert re.search(r"^fail +home .*version 999", ended.out, re.MULTILINE)
    assert re.search(r"^fail +ports .*config\.json", ended.out, re.MULTILINE)
    assert re.search(r"^ok +clock ", ended.out, re.MULTILINE)


@pytest.mark.parametrize("command", ["status", "env", "logs"])
def test_one_that_only_starts_is_not_given_out(home: Home, command: str) -> None:
    lock = folder.Lock(home)
    lock.sign()

    ended = cli(home.root, command)
    lock.release()

    assert "only starting" in the_line(ended)
    assert ended.out == ""


def test_one_that_does_not_answer_yet_is_no_bug(home: Home) -> None:
    folder.write_config(home, Config(harness.free_block(), 7))
    home.kubeconfig.touch()
    certificates.ensure(home.keys, [harness.HOST], SystemClock())
    lock = folder.Lock(home)
    lock.sign()

    logs, status = cli(home.root, "logs"), cli(home.root, "status")
    lock.release()

    assert "no answer from https://127.0.0.1:" in the_line(logs)
    assert (status.code, status.err) == (1, "")
    assert re.search(r"^api +down +no answer from ", status.out, re.MULTILINE)


@pytest.mark.parametrize("name", ["kubeconfig", "keys/admin.token", "keys/ca.crt"])
def test_a_file_that_was_deleted_is_named(running: harness.Running, name: str) -> None:
    file, aside = running.home / name, running.home / "aside"
    file.rename(aside)

    said = [the_line(cli(running.home, command)) for command in ("status", "env", "logs")]
    aside.rename(file)

    assert all(str(file) in line and "was deleted" in line for line in said)
    assert cli(running.home, "status").code == 0


def test_down_that_can_not_wait_that_long_ends_nothing(running: harness.Running) -> None:
    ended = cli(running.home, "down", "--timeout", "-1")

    assert ended.code == 2
    assert "--timeout" in ended.err
    assert cli(running.home, "status").code == 0


def test_who_looks_whether_one_runs_never_keeps_one_from_starting(home: Home) -> None:
    looking = threading.Event()

    def look() -> None:
        while looking.is_set():
            folder.holder(home)

    looking.set()
    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(2000):
            home.lock.write_text("999999999\n")  # as a kill -9 leaves it: of nobody that runs
            assert folder.holder(home) == 0
            folder.Lock(home).release()
    finally:
        looking.clear()
        looker.join()


def test_prune_frees_a_disk_that_is_full(small_disk: Path) -> None:
    home = Home(small_disk / "home")
    folder.prepare(home)
    (home.cache / "download").write_bytes(bytes(2**20))
    harness.fill_disk(small_disk / "ballast")

    ended = cli(home.root, "prune")

    assert ended.code == 0, ended.err
    assert re.search(r"^caches +1 +1\.0 MiB$", ended.out, re.MULTILINE)
    assert not (home.cache / "download").exists()

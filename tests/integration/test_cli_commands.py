"""The commands as a stranger meets them: what they print, how they fail."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import bessemer
import harness
from bessemer.app import folder
from bessemer.base.home import Home


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Running]:
    with harness.bessemer(tmp_path_factory.mktemp("cli")) as one:
        yield one


def cli(running: harness.Running, *arguments: str) -> harness.Ended:
    return harness.run(*arguments, "--home", str(running.home))


def is_one_clear_line(ended: harness.Ended) -> bool:
    lines = ended.err.strip().splitlines()
    return len(lines) == 1 and lines[0].startswith("error: ") and "Traceback" not in ended.err


def test_up_says_where_everything_is(running: harness.Running) -> None:
    said = "\n".join(running.lines)

    assert f"Bessemer is ready on home {running.home}" in said
    for address in (running.api, running.pipelines, running.gateway):
        assert address in said
    assert re.search(r"runtime +(sandbox|process) \(", said)


def test_status_says_what_is_ready(running: harness.Running) -> None:
    ended = cli(running, "status")

    assert (ended.code, ended.err) == (0, "")
    for part in ("api", "node", "pipelines", "gateway"):
        assert re.search(rf"^{part} +ready ", ended.out, re.MULTILINE)


def test_status_as_json(running: harness.Running) -> None:
    answer = json.loads(cli(running, "status", "--output", "json").out)

    assert answer["ready"] is True
    assert answer["pid"] == running.pid
    assert {part["name"]: part["state"] for part in answer["parts"]} == {
        "api": "ready",
        "node": "ready",
        "pipelines": "ready",
        "gateway": "ready",
    }


def test_env_is_what_a_shell_takes(running: harness.Running) -> None:
    told = subprocess.run(
        ["bash", "-c", 'eval "$(cat)"; env -0'],
        input=cli(running, "env").out,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    values = dict(entry.split("=", 1) for entry in told.split("\0") if entry)

    assert values["KUBECONFIG"] == str(running.kubeconfig)
    assert values["BESSEMER_API"] == running.api
    assert values["BESSEMER_PIPELINES"] == running.pipelines
    assert values["BESSEMER_GATEWAY"] == running.gateway
    assert values["BESSEMER_TOKEN"] == running.token
    assert values["KF_PIPELINES_UI_ENDPOINT"] == running.pipelines


def test_env_in_the_words_of_fish(running: harness.Running) -> None:
    lines = cli(running, "env", "--shell", "fish").out.splitlines()

    assert f"set -gx KUBECONFIG '{running.kubeconfig}'" in lines
    assert all(line.startswith("set -gx ") for line in lines)


def test_clients_begin_in_namespace_kubeflow(running: harness.Running) -> None:
    config = yaml.safe_load(cli(running, "kubeconfig").out)

    assert [each["context"]["namespace"] for each in config["contexts"]] == ["kubeflow"]


def test_a_context_is_merged_into_the_users_own_kubeconfig(
    running: harness.Running, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    entry = {"name": "work", "cluster": {"server": "https://10.0.0.1:6443"}}
    own.write_text(yaml.safe_dump({"clusters": [entry], "current-context": "work", "kept": 1}))
    link = tmp_path / "link"
    link.symlink_to(own)
    # As after `eval "$(bessemer env)"`: the home's own file is never the user's.
    names = {"KUBECONFIG": f"{running.kubeconfig}:{link}"}
    merge = ("kubeconfig", "--merge", "--home", str(running.home))

    first = harness.run(*merge, env=names)
    again = harness.run(*merge, "--use", env=names)

    merged = yaml.safe_load(own.read_text())
    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert "kubectl config use-context bessemer-home" in first.out
    assert [each["name"] for each in merged["clusters"]] == ["work", "bessemer-home"]
    assert merged["clusters"][1]["cluster"]["server"] == running.api
    assert [each["user"]["token"] for each in merged["users"]] == [running.token]
    assert (merged["current-context"], merged["kept"]) == ("bessemer-home", 1)
    assert own.stat().st_mode & 0o777 == 0o600
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir()].count("own") == len(
        list(tmp_path.glob("own*"))
    )


@pytest.mark.parametrize("text", ["clusters: {", "[1]", "users: [x]", "contexts: 7"])
def test_what_is_no_kubeconfig_is_left_as_it_is(
    text: str, running: harness.Running, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.write_text(text)
    merge = ("kubeconfig", "--merge", "--home", str(running.home))

    ended = harness.run(*merge, env={"KUBECONFIG": str(own)})

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert str(own) in ended.err
    assert own.read_text() == text


def test_open_leads_a_browser_in_once(running: harness.Running, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    page = ("open", "/runs/x?first=2", "--home", str(running.home))

    told = harness.run(*page, "--link")
    shown = harness.run(*page, env={"BROWSER": str(browser)})
    bare = harness.run(*page, env={"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": ""})

    link = told.out.strip()
    assert re.fullmatch(
        rf"{running.pipelines}/login#code=[\w-]+&next=%2Fruns%2Fx%3Ffirst%3D2", link
    )
    assert (shown.out, opened.read_text().startswith(f"{running.pipelines}/login#code=")) == (
        "",
        True,
    )
    assert bare.out.startswith(f"{running.pipelines}/login#code=")
    assert running.token not in told.out + bare.out + opened.read_text()
    assert len({link, bare.out.strip(), opened.read_text().strip()}) == 3


def test_every_list_is_there_as_json(running: harness.Running) -> None:
    pods = json.loads(cli(running, "logs", "-o", "json").out)
    checks = json.loads(cli(running, "doctor", "-o", "json").out)
    none = json.loads(cli(running, "logs", "-n", "nowhere", "-o", "json").out)

    assert {"bessemer-system"} <= {pod["namespace"] for pod in pods}
    assert {"python", "isolation"} <= {check["name"] for check in checks}
    assert none == []


def test_the_version_and_the_module_are_there() -> None:
    told = harness.run("--version")
    module = subprocess.run(
        [sys.executable, "-m", "bessemer", "--version"], capture_output=True, text=True, check=True
    )

    assert told.out == module.stdout == f"bessemer {bessemer.__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_the_commands(shell: str) -> None:
    variables = {"_BESSEMER_COMPLETE": f"source_{shell}"}
    words = {
        "bash": {
            "_BESSEMER_COMPLETE": "complete_bash", "COMP_WORDS": "bessemer st", "COMP_CWORD": "1",
        },
        "zsh": {"_BESSEMER_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "bessemer st"},
        "fish": {
            "_BESSEMER_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            "_TYPER_COMPLETE_ARGS": "bessemer st",
        },
    }[shell]  # fmt: skip

    script = harness.run(env=variables)
    offered = harness.run(env=words)

    assert "bessemer" in script.out
    assert "status" in offered.out
    assert "prune" not in offered.out


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_colours_are_for_terminals_that_want_them(variables: dict[str, str]) -> None:
    reader, writer = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    subprocess.run(
        [str(harness.PROGRAM), "status", "--home", "/nowhere"],
        stdin=writer, stdout=writer, stderr=writer, check=False,
        env={**environment, "TERM": "xterm", **variables},
    )  # fmt: skip
    os.close(writer)
    said = os.read(reader, 65536).decode()
    os.close(reader)

    assert ("\x1b" in said) == (not variables)


def test_logs_of_a_pod(running: harness.Running) -> None:
    container = {"name": "main", "image": "busybox", "command": ["echo", "it was me"]}
    place = "/api/v1/namespaces/default/pods"
    running.create(
        place,
        {
            "metadata": {"name": "told"},
            "spec": {"restartPolicy": "Never", "containers": [container]},
        },
    )
    running.until(place, lambda pods: pods[0]["status"].get("phase") == "Succeeded")

    listed = cli(running, "logs", "-n", "default")
    told = cli(running, "logs", "told", "-n", "default", "--follow")
    unknown = cli(running, "logs", "nobody", "-n", "default")

    everywhere = cli(running, "logs")
    found = cli(running, "logs", "told")

    assert re.search(r"^told +default +Succeeded ", listed.out, re.MULTILINE)
    assert re.search(r"^gateway-\S+ +bessemer-system ", everywhere.out, re.MULTILINE)
    assert found.out == told.out
    assert (told.code, told.out) == (0, "it was me\n")
    assert unknown.code == 1
    assert is_one_clear_line(unknown)
    assert 'pods "nobody" not found' in unknown.err


def test_a_second_up_says_who_holds_the_home(running: harness.Running) -> None:
    ended = cli(running, "up")

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert f"pid {running.pid}" in ended.err
    assert cli(running, "status").code == 0


def test_a_home_whose_network_another_holds_says_so(
    running: harness.Running, tmp_path: Path
) -> None:
    network = json.loads((running.home / "config.json").read_text())["network"]
    home = tmp_path / "home"
    folder.prepare(Home(home))
    kept = {"port": harness.free_block(), "network": network}
    (home / "config.json").write_text(json.dumps(kept))

    ended = harness.run("up", "--home", str(home))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert f"127.{network}.0.0/16" in ended.err
    assert f"pid {running.pid}" in ended.err
    assert json.loads((home / "config.json").read_text()) == kept


def test_in_a_terminal_errors_break_between_words_and_commands_stay_whole(tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    home = str(tmp_path / "none")
    subprocess.run(
        [str(harness.PROGRAM), "status", "--home", home],
        stdin=writer, stdout=writer, stderr=writer, check=False, env=environment,
    )  # fmt: skip
    os.close(writer)
    said = os.read(reader, 65536).decode()
    os.close(reader)

    lines = said.splitlines()
    assert len(lines) > 1
    assert f"`bessemer up --home {home}`" in said
    assert all(len(line) <= 80 or home in line for line in lines)


def test_prune_waits_for_the_end(running: harness.Running) -> None:
    ended = cli(running, "prune")

    assert ended.code == 1
    assert f"pid {running.pid}" in ended.err


def test_doctor_names_each_check(running: harness.Running) -> None:
    ended = cli(running, "doctor")

    assert ended.code == 0, ended.out
    for name in ("python", "uv", "envoy", "isolation", "limits", "home", "disk", "ports", "clock"):
        assert re.search(rf"^(ok|warn) +{name} ", ended.out, re.MULTILINE), name


@pytest.mark.parametrize("command", ["status", "env", "logs"])
def test_without_a_running_one_it_says_how_to_start_it(command: str, tmp_path: Path) -> None:
    ended = harness.run(command, "--home", str(tmp_path / "none"))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert f"bessemer up --home {tmp_path / 'none'}" in ended.err
    assert not (tmp_path / "none").exists()


def test_down_of_nothing_is_no_error(tmp_path: Path) -> None:
    assert harness.run("down", "--home", str(tmp_path)).code == 0


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["up", "--nosuch"], ["status", "--output", "xml"]]
)
def test_wrong_usage_has_a_code_of_its_own(arguments: list[str]) -> None:
    ended = harness.run(*arguments)

    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_down_ends_it_and_prune_then_frees_what_it_left(tmp_path: Path) -> None:
    with harness.bessemer(tmp_path) as one:
        (one.home / "cache" / "download").write_bytes(bytes(200_000))
        ended = cli(one, "down")
        assert (ended.code, one.wait()) == (0, 0)
        assert one.processes() == []

        dry = json.loads(cli(one, "prune", "--dry-run", "-o", "json").out)
        pruned = cli(one, "prune")

        assert {"caches", "environments", "ended pods", "old logs"} == {row["what"] for row in dry}
        assert next(row["bytes"] for row in dry if row["what"] == "caches") >= 200_000
        assert pruned.code == 0, pruned.err
        assert re.search(r"^caches +\d+ +\d+\.\d [KM]iB", pruned.out, re.MULTILINE)
        assert not (one.home / "cache" / "download").exists()
        one.restart()
        assert cli(one, "status").code == 0


@pytest.mark.parametrize("offset", [0, 1, 2])
def test_a_taken_port_is_named_with_its_holder(offset: int, tmp_path: Path) -> None:
    first = harness.free_block()
    with socket.socket() as taken:
        taken.bind((harness.HOST, first + offset))
        taken.listen()

        ended = harness.run("up", "--home", str(tmp_path / "home"), "--port", str(first))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert f"port {first + offset}" in ended.err
    assert f"pid {os.getpid()}" in ended.err
    assert list((tmp_path / "home").iterdir()) == []
    with harness.bessemer(tmp_path, first) as one:  # nothing of the failure stays
        assert one.get("/api/v1/namespaces/default")["status"]["phase"] == "Active"


def test_a_port_that_the_gateway_may_not_open_is_refused_at_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    lowest = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if lowest < 4:
        pytest.skip("everybody may open every port on this machine")

    ended = harness.run("up", "--home", str(home), "--port", str(lowest - 3))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert f"port {lowest - 1} (the gateway)" in ended.err
    assert f"from {lowest - 2} on" in ended.err
    assert list(home.iterdir()) == []


def test_a_refused_start_leaves_a_known_home_as_it_is(
    running: harness.Running, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    folder.prepare(Home(home))
    (home / "volumes" / "mine").mkdir()

    ended = harness.run("up", "--home", str(home), "--port", str(running.port))

    assert ended.code == 1
    assert (home / "version").exists()
    assert (home / "volumes" / "mine").exists()


def test_a_newer_home_is_refused_untouched(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "version").write_text("999\n")

    ended = harness.run("up", "--home", str(home))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert "version 999" in ended.err
    assert [entry.name for entry in home.iterdir()] == ["version"]


def test_a_read_only_home_is_refused(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    ended = harness.run("up", "--home", str(small_disk / "home"))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert "can't be written" in ended.err


def test_a_full_disk_is_refused_before_anything_is_made(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(bytes(36 * 2**20))

    ended = harness.run("up", "--home", str(small_disk / "home"))

    assert ended.code == 1
    assert is_one_clear_line(ended)
    assert "MiB left" in ended.err
    (small_disk / "ballast").unlink()
    with harness.bessemer(small_disk) as one:
        assert cli(one, "status").code == 0


def test_a_disk_that_fills_up_refuses_writes_and_keeps_what_it_has(small_disk: Path) -> None:
    place = "/api/v1/namespaces/default/configmaps"
    with harness.bessemer(small_disk) as one:
        one.create(place, {"metadata": {"name": "kept"}, "data": {"a": "1"}})
        harness.fill_disk(small_disk / "ballast")
        big = {"a": "x" * 900_000}
        answers = [
            one.request("POST", place, {"metadata": {"name": f"n{n}"}, "data": big})
            for n in range(12)
        ]
        status, last = answers[-1]
        assert (status, last["reason"]) == (503, "ServiceUnavailable")
        assert "disk is full" in last["message"]
        assert one.get(f"{place}/kept")["data"] == {"a": "1"}  # what is there is still answered
        (small_disk / "ballast").unlink()
        one.create(place, {"metadata": {"name": "after"}, "data": big})
        one.kill9()
        one.restart()

        stored = {entry["metadata"]["name"] for entry in one.get(place)["items"]}
        accepted = {f"n{n}" for n, (status, _) in enumerate(answers) if status == 201}
        assert {"kept", "after", *accepted} == stored - {"kube-root-ca.crt"}


def test_ctrl_c_during_the_start_ends_it(tmp_path: Path) -> None:
    one = harness.Running(tmp_path / "home")
    arguments = [str(harness.PROGRAM), "up", "--home", str(one.home), "--port", str(one.port)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    with process:
        while not (one.home / "lock").exists():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=harness.STOP_SECONDS)

    assert b"Traceback" not in out
    assert process.returncode in (0, 130)
    assert one.processes() == []

"""Every command that README shows is run, by hand in two terminals as it says, or elsewhere."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

import bessemer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(
    r"^```sh(?: terminal=(\d))?\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL
)
#: Commands that stand alone, and the test that runs them.
ELSEWHERE = {"make demo": "tests/acceptance/test_demo.py", "make test": "Makefile"}
#: The block that makes and installs the wheel.
(WHEEL,) = [text.strip() for _, text in BLOCKS if "uv tool install" in text]
READY_LIMIT = 120  # seconds, with the installation


def test_each_command_outside_the_two_terminals_is_run_by_a_named_test() -> None:
    alone = [text.strip() for terminal, text in BLOCKS if not terminal]

    assert sorted(alone) == sorted([*ELSEWHERE, WHEEL])
    assert all((ROOT / path).exists() for path in ELSEWHERE.values())


def test_each_make_target_that_the_documents_name_exists() -> None:
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        target
        for document in documents
        for target in re.findall(r"\bmake ([a-z][a-z-]+)\b(?=[`\s])", document.read_text())
        if f"`make {target}" in document.read_text() or f"\nmake {target}" in document.read_text()
    }
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert named
    assert named <= known


@pytest.mark.timeout(400)
def test_the_wheel_is_installed_as_a_program(tmp_path: Path) -> None:
    if not (ROOT / ".uv" / "bin" / "uv").exists():
        pytest.skip("uv is not in .uv: run the tests by `make test`, which puts it there")
    clone, programs = tmp_path / "clone", tmp_path / "bin"
    clone.mkdir()
    shutil.copytree(ROOT / "src", clone / "src")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, clone)
    path = f"{ROOT / '.uv' / 'bin'}:{programs}:{os.environ['PATH']}"
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(programs)}

    done = subprocess.run(
        ["bash", "-euc", WHEEL], cwd=clone, env={**os.environ, **folders, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    checked = subprocess.run(
        [programs / "bessemer", "doctor", "--home", tmp_path / "home"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"bessemer {bessemer.__version__}"
    assert checked.returncode == 0, checked.stdout  # its data files and uv and Envoy came along


@pytest.mark.timeout(400)
def test_the_job_by_hand_in_two_terminals(tmp_path: Path) -> None:
    if not (ROOT / ".uv" / "bin" / "uv").exists():
        pytest.skip("uv is not in .uv: run the tests by `make test`, which puts it there")
    scripts = {terminal: text for terminal, text in BLOCKS if terminal}
    env = {**os.environ, "BESSEMER_HOME": str(tmp_path / "home")}
    env.pop("VIRTUAL_ENV", None)
    log = tmp_path / "terminal-1"
    with log.open("w") as sink:
        first = subprocess.Popen(
            ["bash", "-ec", scripts["1"]], cwd=ROOT, env=env, stdout=sink, stderr=sink,
            start_new_session=True,
        )  # fmt: skip
    try:
        status = ROOT / ".venv" / "bin" / "bessemer"
        wait = f"until '{status}' status >/dev/null 2>&1; do :; done"
        ready = subprocess.run(
            ["timeout", str(READY_LIMIT), "bash", "-c", wait], env=env, check=False
        )
        assert ready.returncode == 0, log.read_text()
        second = subprocess.run(
            ["bash", "-ec", scripts["2"]], cwd=ROOT, env=env, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    finally:
        os.killpg(first.pid, signal.SIGINT)
        code = first.wait(60)

    assert second.returncode == 0, second.stdout + second.stderr + log.read_text()
    assert "from the cache" in second.stdout
    assert re.search(r"breast-cancer-predictor-\d+: 100 %", second.stdout)
    assert code in {0, 130}

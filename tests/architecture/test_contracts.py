"""The contracts between rooms hold what they say: a leak of each sort turns ``make check`` red.

Each leak is planted into a copy of the source, and import-linter judges that as it judges ours.
"""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "bessemer"
#: Who imports by a name that is only known at run time, and none of it is ours: what a user's
#: component needs, and what ``lazily`` is told.
BY_ANY_NAME = {"launcher/warm.py", "base/lazily.py"}
#: Where a line is planted, the line, and how the contract is called that has to break.
LEAKS = [
    ("serving/plan.py", "import bessemer.cluster.store.store", "Rooms import down only, and no"),
    (
        "cluster/scheduler/plan.py",
        "import bessemer.serving.plan",
        "Rooms import down only, and no",
    ),
    ("web/guard.py", "import bessemer.pipelines.records", "Rooms import down only, and no"),
    ("control/writer.py", "import bessemer.web.errors", "Rooms import down only, and no"),
    ("web/bodies.py", "import pathlib", "Capabilities know no home"),
    ("gateway/plan.py", "import bessemer.serving.plan", "Rooms import down only, and no"),
    ("kinds/meta.py", "import bessemer.kube.client", "Rooms import down only, and no"),
    ("cluster/store/store.py", "import bessemer.cluster.apiserver.rbac", "The embedded cluster's"),
    (
        "cluster/kubelet/runtime/base.py",
        "import bessemer.cluster.kubelet.pods.plan",
        "The kubelet's rooms",
    ),
    ("cluster/store/store.py", "import bessemer.database.engine", "The embedded cluster keeps no"),
    ("app/capabilities/serving.py", "import bessemer.app.embedded", "Descriptors of capabilities"),
    ("serving/plan.py", "import bessemer.base.home", "Capabilities know no home"),
    ("pipelines/engine.py", "import os", "Capabilities know no home"),
    ("dashboard/overview.py", "import subprocess", "Capabilities know no home"),
    ("serving/storage.py", "import bessemer.artifacts.claim", "Capabilities know no home"),
    ("artifacts/store.py", "import bessemer.pipelines.records", "Rooms import down only, and no"),
    ("pipelines/plan.py", "import bessemer.kube.http", "Plans are pure"),
    ("cluster/kubelet/pods/plan.py", "import time", "Plans are pure"),
    ("serving/plan.py", "import bessemer.control.writer", "Plans are pure"),
    ("control/adoption.py", "import bessemer.kube.client", "Plans are pure"),
    ("kinds/meta.py", "import bessemer.kinds.pod", "No cycles among modules"),
    ("app/main.py", "import bessemer.launcher.supervisor", "Nobody imports the programs"),
    ("launcher/supervisor.py", "import bessemer.kube.client", "The programs that run in pods"),
    ("kube/client.py", "import sqlite3", "One door for SQLite"),
    ("cluster/store/store.py", "import subprocess", "One door for processes"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source in it, to be spoilt."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(SOURCE, folder / "bessemer", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def judge(folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config",
         ROOT / "pyproject.toml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_as_it_is_the_source_breaks_none(copied: Path) -> None:
    code, told = judge(copied)

    assert code == 0, told
    assert "0 broken" in told


@pytest.mark.parametrize(("place", "line", "contract"), LEAKS, ids=lambda value: value)
def test_a_leak_breaks_its_contract(copied: Path, place: str, line: str, contract: str) -> None:
    module = copied / "bessemer" / place
    before = module.read_text()
    try:
        module.write_text(f"{before}\n{line}\n")
        code, told = judge(copied)
    finally:
        module.write_text(before)

    assert code != 0
    assert re.search(rf"^{re.escape(contract)}.* BROKEN\b", told, re.MULTILINE), told


def test_every_contract_has_a_leak_that_breaks_it() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [one["name"] for one in settings["tool"]["importlinter"]["contracts"]]

    assert [
        name for name in names if not any(name.startswith(contract) for *_, contract in LEAKS)
    ] == []


def around_the_contracts(tree: ast.AST) -> list[str]:
    """What import-linter doesn't see: modules imported by name that may be ours."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and _is_by_name(node)
    ]


def _is_by_name(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    if name != "import_module":
        return name == "__import__"
    given = call.args[0]
    return not isinstance(given, ast.Constant) or "bessemer" in str(given.value)


def unpaired(tree: ast.Module) -> list[str]:
    """Modules imported lazily without the ordinary import for mypy and import-linter beside it."""
    wanted = [ast.unparse(call) for call in ast.walk(tree) if _is_lazy(call)]
    paired = [
        ast.unparse(statement.value)
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for statement in block.orelse
        if isinstance(statement, ast.Assign)
        and _is_lazy(statement.value)
        and (ast.unparse(statement.targets[0]), ast.literal_eval(statement.value.args[0]))
        in set(_imported(block.body))
    ]
    return sorted(set(wanted) - set(paired))


def _is_lazy(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "lazily.module"


def _imported(statements: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Each name that is bound, and the module that it means."""
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            for alias in statement.names:
                yield alias.asname or alias.name, f"{statement.module}.{alias.name}"
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                yield alias.asname or alias.name, alias.name


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("importlib.import_module('bessemer.app.objects').read(home)", 1),
        ("import_module(f'bessemer.modelserver.{name}')", 1),
        ("import_module(ours)", 1),
        ("__import__('os').unlink(path)", 1),
        ("importlib.import_module('pandas')", 0),
    ],
)
def test_a_way_around_the_contracts_is_found(line: str, found: int) -> None:
    assert len(around_the_contracts(ast.parse(line))) == found


def test_no_module_goes_around_the_contracts() -> None:
    found = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if around_the_contracts(ast.parse(path.read_text()))
    }

    assert found == BY_ANY_NAME


PAIR = """
if TYPE_CHECKING:
    from bessemer.app import objects
else:
    objects = lazily.module("bessemer.app.objects")
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (PAIR, 0),
        (PAIR.replace('"bessemer.app.objects"', '"bessemer.app.trial"'), 1),
        (PAIR.replace("import objects", "import objects as others"), 1),
        ('objects = lazily.module("bessemer.app.objects")', 1),
        (f'{PAIR}\ndef read():\n    return lazily.module("bessemer.app.trial").read()', 1),
    ],
)
def test_a_lazy_module_without_its_import_is_found(text: str, found: int) -> None:
    assert len(unpaired(ast.parse(text))) == found


def test_what_is_imported_lazily_is_seen_by_the_contracts() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    trees = {path: ast.parse(path.read_text()) for path in SOURCE.rglob("*.py")}

    assert not settings.get("exclude_type_checking_imports")
    assert any(_is_lazy(node) for tree in trees.values() for node in ast.walk(tree))
    assert {path: found for path, tree in trees.items() if (found := unpaired(tree))} == {}

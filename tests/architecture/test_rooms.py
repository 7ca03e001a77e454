"""What linters have no rule for: rooms say what they are, plans ask nobody, no module sprawls."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "bessemer"
MODULES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted(path.parent for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE)
MAX_LINES = 500
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
#: Programs that run in users' containers, on whichever Python is there; and as what they import
#: themselves.
ANY_PYTHON = {"launcher": "bessemer.launcher", "cluster/kubelet/images/standin": "pip"}


def relative(path: Path) -> str:
    """From the source's folder, for people."""
    return str(path.relative_to(SOURCE))


@pytest.mark.parametrize("room", ROOMS, ids=relative)
def test_a_room_says_what_it_is_and_may_import(room: Path) -> None:
    card = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""

    assert len(card.splitlines()) >= 3, f"{room}: what it is, what it may import, what to open"
    assert re.search(r"\b[Mm]ay\s+import\b|\bStandard library only\b", card), room


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_is_short_and_named_by_a_noun_of_the_field(module: Path) -> None:
    lines = len(module.read_text().splitlines())

    assert lines <= MAX_LINES, f"{lines} lines: split it by meaning"
    assert not {module.stem, *module.relative_to(SOURCE).parts} & VAGUE


@pytest.mark.parametrize("module", [path for path in MODULES if path.stem == "plan"], ids=relative)
def test_a_plan_asks_neither_clock_nor_disk_and_waits_for_nobody(module: Path) -> None:
    """Import-linter sees what is imported; this sees what is at hand without an import."""
    asked = [
        f"line {node.lineno}: {ast.unparse(node)[:80]}"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.Global)
        or (isinstance(node, ast.Call) and _last_name(node.func) in {"now", "today", "open"})
    ]

    assert asked == [], "take the time as an argument, and leave the deed to the reconciler"


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@pytest.mark.parametrize("room", ["base", "kinds"])
def test_the_nouns_need_the_standard_library_alone(room: str) -> None:
    """No I/O by a library; and users' environments, where the model server runs, have none."""
    trees = [ast.parse(module.read_text()) for module in sorted((SOURCE / room).rglob("*.py"))]
    imported = {name.partition(".")[0] for tree in trees for name in _imports(tree)}

    assert imported - {"bessemer"} <= sys.stdlib_module_names - {"socket", "subprocess", "sqlite3"}


def test_only_the_node_starts_processes() -> None:
    """By whichever door: import-linter knows that of ``subprocess`` alone.

    A kubeconfig's login is a program of the user's own, run as kubectl runs it.
    """
    doors = {"create_subprocess_exec", "create_subprocess_shell", "fork", "system", "posix_spawn"}
    used = {
        relative(module)
        for module in MODULES
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and _last_name(node.func) in doors
    }

    assert used
    assert {
        place
        for place in used
        if not place.startswith(("cluster/kubelet/", "launcher/", "app/kubeaccess.py"))
    } == set()


@pytest.mark.parametrize("room", ANY_PYTHON)
def test_what_runs_in_users_containers_needs_python_3_8_alone(room: str) -> None:
    modules = sorted((SOURCE / room).rglob("*.py"))
    trees = [ast.parse(module.read_text(), feature_version=(3, 8)) for module in modules]
    imported = {name for tree in trees for name in _imports(tree)}
    own = {name for name in imported if f"{name}.".startswith(f"{ANY_PYTHON[room]}.")}

    assert own
    assert {name.partition(".")[0] for name in imported - own} <= sys.stdlib_module_names


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def unnamed_fields(tree: ast.AST) -> list[str]:
    """Parameters that take a tuple of several things, none of which has a name."""
    return [
        f"line {argument.lineno}: {ast.unparse(argument)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.arguments)
        for argument in (*node.posonlyargs, *node.args, *node.kwonlyargs)
        if argument.annotation is not None and _has_tuple(argument.annotation)
    ]


def _has_tuple(annotation: ast.expr) -> bool:
    if isinstance(annotation, ast.BinOp):  # ... | None
        return _has_tuple(annotation.left) or _has_tuple(annotation.right)
    if not isinstance(annotation, ast.Subscript) or ast.unparse(annotation.value) != "tuple":
        return False
    fields = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else []
    return len(fields) > 1 and ast.unparse(fields[-1]) != "..."


@pytest.mark.parametrize(
    ("parameters", "found"),
    [
        ("wish: tuple[Target, Selection]", 1),
        ("*, spans: tuple[float, float] | None = None", 1),
        ("names: tuple[str, ...], keys: Mapping[tuple[str, str], Object]", 0),
    ],
)
def test_an_argument_without_names_is_found(parameters: str, found: int) -> None:
    assert len(unnamed_fields(ast.parse(f"def act({parameters}) -> None: ..."))) == found


def test_several_things_in_one_argument_have_names() -> None:
    """A NamedTuple or dataclass says what each is, in which unit, and why."""
    found = {relative(one): unnamed_fields(ast.parse(one.read_text())) for one in MODULES}

    assert {module: lines for module, lines in found.items() if lines} == {}


def test_every_room_of_the_map_exists_and_every_room_is_on_the_map() -> None:
    drawn = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {relative(room) for room in ROOMS}
    top = {room for room in rooms if "/" not in room}
    of_cluster = {room for room in rooms if re.fullmatch(r"cluster/[a-z]+", room)}

    assert set(re.findall(r"^([a-z]+)/ ", drawn, flags=re.MULTILINE)) == top
    assert set(re.findall(r"^(cluster/[a-z]+) ", drawn, flags=re.MULTILINE)) == of_cluster


def test_what_contributing_tells_to_open_is_there() -> None:
    rows = re.findall(
        r"^\| (?!to change|---)[^|]+ \| ([^|]+) \|$",
        (ROOT / "CONTRIBUTING.md").read_text(),
        flags=re.MULTILINE,
    )
    missing = []
    for row in rows:
        names = re.findall(r"`([a-z_/.]+)`", row)
        beside = [(SOURCE / name).parent for name in names]
        places = (ROOT, SOURCE, *beside)
        missing += [name for name in names if not any((one / name).exists() for one in places)]

    assert rows
    assert missing == []


def test_nothing_that_a_tool_left_is_in_the_repository() -> None:
    endings = (".orig", ".rej", ".bak", "~")
    folders = ("src", "tests", "docs", "scripts", "benchmarks", "examples")
    files = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    ours = (path for path in files if not {".venv", ".work"} & set(path.parts))

    assert [str(path) for path in ours if path.name.endswith(endings)] == []


def test_no_path_or_host_of_a_machine_is_in_the_repository() -> None:
    places = (str(ROOT), f"{Path.home()}/", "INDEX_URL=http")
    pattern = re.compile("|".join(re.escape(place) for place in places))
    suffixes = {".py", ".md", ".toml", ".lock", ".yaml", ".yml", ".json", ".mod", ""}
    folders = ("src", "tests", "docs", "examples", "scripts", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    hits = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in (*ROOT.iterdir(), *files)
        if path.is_file()
        and path.suffix in suffixes
        and not {".venv", "__pycache__", ".work"} & set(path.parts)
        and path != Path(__file__).resolve()
        for match in pattern.finditer(path.read_text(errors="ignore"))
    ]

    assert hits == []

"""Derive ``cluster/apiserver/protobuf.json``: the protobuf field numbers of our kinds.

Run: ``go mod download k8s.io/api@v0.37.2 k8s.io/apimachinery@v0.37.2`` in any module, then
``python scripts/derive_protobuf.py "$(go env GOMODCACHE)/k8s.io"``. Needed because kubectl's
``create`` and ``auth`` commands send protobuf and nothing else.
"""

import json
import re
import sys
from pathlib import Path

from derive_schemas import ROOTS, short

OUTPUT = Path(__file__).parent.parent / "src/bessemer/cluster/apiserver/protobuf.json"
MODULES = ("api@v0.37.2", "apimachinery@v0.37.2")
SCALARS = {"string", "bytes", "int32", "int64", "bool", "double"}
MESSAGE = re.compile(r"^message (\w+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(
    r"^  (?:optional |repeated |required )?(map<string, )?([.\w]+)>? (\w+) = (\d+);", re.MULTILINE
)
REPEATED = re.compile(r"^  repeated \S+ (\w+) =", re.MULTILINE)

Fields = dict[str, list[str]]


def full(name: str, package: str) -> str:
    """A type's short name, as ``derive_schemas`` writes it."""
    if name in SCALARS:
        return name
    name = name.lstrip(".")
    path = name if "." in name else f"{package}.{name}"
    return short(path.replace("k8s.io.", "io.k8s.", 1))


def read(folder: Path) -> dict[str, Fields]:
    """All messages below a folder: type -> number -> [name, type, how it repeats]."""
    found: dict[str, Fields] = {}
    for path in folder.rglob("generated.proto"):
        text = path.read_text()
        package = re.search(r"^package (.*);", text, re.MULTILINE)
        if package is None:
            continue
        for name, body in MESSAGE.findall(text):
            repeated = set(REPEATED.findall(body))
            found[full(name, package[1])] = {
                number: [field, full(type_, package[1]),
                         "map" if is_map else "list" if field in repeated else ""]
                for is_map, type_, field, number in FIELD.findall(body)
            }  # fmt: skip
    return found


def main() -> None:
    """Keep what our kinds reach; one type a line."""
    messages: dict[str, Fields] = {}
    for module in MODULES:
        messages |= read(Path(sys.argv[1]) / module)
    kept: dict[str, Fields] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in SCALARS or name in kept or name not in messages:
            continue
        kept[name] = messages[name]
        waiting.extend(type_ for _, type_, _ in kept[name].values())
    lines = (
        f"{json.dumps(name)}:{json.dumps(kept[name], separators=(',', ':'))}"
        for name in sorted(kept)
    )
    OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{OUTPUT.name}: {len(kept)} types, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()

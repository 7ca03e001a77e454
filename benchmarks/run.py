"""``make bench``: everything side by side in one run; medians, ratios, JSON in results/.

``make bench BENCH="start pipelines"`` runs some of: start pipelines api serving.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
PARTS = ("start", "pipelines", "api", "serving")


def main() -> int:
    chosen = choose(sys.argv[1:])
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    failed = []
    for part in chosen:
        print(f"== {part}", flush=True)
        sink = results / f"{part}.json"
        command = [sys.executable, str(HERE / f"bench_{part}.py"), "--json", str(sink)]
        if subprocess.run(command, check=False).returncode:
            failed.append(part)
            continue
        figures = json.loads(sink.read_text())
        figures = {"machine": machine(), "figures": figures.get("figures", figures)}
        sink.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    if failed:
        print(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def choose(arguments: list[str]) -> list[str]:
    """The parts to measure: those named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all of them")
    chosen: list[str] = parser.parse_args(arguments).parts or [*PARTS]
    if unknown := sorted({*chosen} - {*PARTS}):
        parser.error(f"the parts are {', '.join(PARTS)}, but got {', '.join(unknown)}")
    return chosen


def machine() -> dict[str, str]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": str(len(os.sched_getaffinity(0))),
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
    }


if __name__ == "__main__":
    sys.exit(main())

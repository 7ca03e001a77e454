"""Start to ready (cold and warm home), and idle memory of everything, Envoy included."""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from bessemer_up import bessemer

ROUNDS = 5
SETTLE = 5  # seconds of idling before memory is read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    sink = parser.parse_args().json
    first, later, memory = [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bessemer-bench-") as folder:
            home = Path(folder) / "home"
            with bessemer(home) as up:
                first.append(up.ready_after)
            with bessemer(home) as up:
                later.append(up.ready_after)
                time.sleep(SETTLE)
                memory.append(up.memory() / 2**20)
    figures = {
        "start_new_home_s": statistics.median(first),
        "start_known_home_s": statistics.median(later),
        "idle_pss_mib": statistics.median(memory),
        "aims": {"start_s": 2.0, "idle_pss_mib": 200},
    }
    for key in ("start_new_home_s", "start_known_home_s", "idle_pss_mib"):
        print(f"{key:22} {figures[key]:8.2f}")
    if sink:
        sink.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()

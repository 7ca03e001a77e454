"""Milliseconds a pipeline step: chains and a fan-out on Bessemer beside kfp.local."""

import argparse
import json
import os
import statistics
import subprocess
from pathlib import Path

import uv
from bessemer_up import bessemer

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "examples" / "breast_cancer" / ".venv" / "bin" / "python"
CLIENT = ROOT / "benchmarks" / "pipelines_client.py"
#: kfp.local runs "python3 -m pip", so its environment needs a pip, which uv's have not.
PEER = ROOT / "benchmarks" / ".work" / "kfp-local"
ROUNDS = 3
SHAPES = (("chain", 20), ("fan", 50), ("chain", 200))


def make_peer() -> None:
    """An environment with kfp and pip for kfp.local."""
    if not (PEER / "done").exists():
        tool = uv.find_uv_bin()
        subprocess.run([tool, "venv", "--quiet", "--clear", "--seed", PEER], check=True)
        install = [tool, "pip", "install", "--quiet", "--compile-bytecode", "--python"]
        subprocess.run([*install, PEER / "bin" / "python", "kfp==2.17.0"], check=True)
        (PEER / "done").touch()


def measure(shape: str, steps: int, where: str, env: dict[str, str]) -> float:
    """Wall seconds of one run, as the client sees them."""
    python = PYTHON if where == "server" else PEER / "bin" / "python"
    done = subprocess.run(
        [python, CLIENT, shape, str(steps), where],
        env=env, capture_output=True, text=True, check=False, cwd=env.get("TMPDIR", "/tmp"),
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"{shape} {steps} {where}:\n{done.stdout}\n{done.stderr}")
    return float(json.loads(done.stdout.strip().splitlines()[-1])["wall"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only-server", action="store_true", help="leave kfp.local out")
    chosen = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    if not chosen.only_server:
        make_peer()
    with bessemer() as up:
        local = {**os.environ, "PATH": f"{PEER / 'bin'}:{os.environ['PATH']}"}
        measure("chain", 2, "server", up.env)  # builds the environment
        for shape, steps in SHAPES:
            row = {"server": [], "local": []}
            for _ in range(ROUNDS):
                row["server"].append(measure(shape, steps, "server", up.env))
                if steps < 200 and not chosen.only_server:
                    row["local"].append(measure(shape, steps, "local", local))
            server = 1000 * statistics.median(row["server"]) / steps
            entry = {"server_ms_per_step": server}
            line = f"{shape} of {steps:3}: {server:7.1f} ms a step"
            if row["local"]:
                peer = 1000 * statistics.median(row["local"]) / steps
                entry |= {"kfp_local_ms_per_step": peer, "ratio": peer / server}
                line += f", kfp.local {peer:7.1f}, ratio {peer / server:5.1f}"
            figures[f"{shape}_{steps}"] = entry
            print(line, flush=True)
    growth = figures["chain_200"]["server_ms_per_step"] / figures["chain_20"]["server_ms_per_step"]
    figures["chain_200_over_10_chains_of_20"] = {"ratio": growth}
    print(f"chain of 200 over ten of 20: {growth:.2f}")
    if chosen.json:
        chosen.json.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()

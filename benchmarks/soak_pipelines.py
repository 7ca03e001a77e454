"""Runs in the example's environment: prints the soak's pipelines as JSON, compiled by the SDK."""

import json
import tempfile
import warnings

warnings.simplefilter("ignore")

import yaml  # noqa: E402 - the warnings of the SDK's import say nothing here
from kfp import compiler, dsl  # noqa: E402


@dsl.component(base_image="python:3.11")
def write(size: int, seed: str) -> str:
    print("writes", size)
    return (seed + "x" * size)[:size]


@dsl.component(base_image="python:3.11")
def hand_on(text: str) -> str:
    print("hands on", len(text))
    return text[1:] + text[:1]


@dsl.component(base_image="python:3.11")
def count(number: int) -> int:
    print("counts", number)
    return number + 1


@dsl.pipeline(name="soak-chain")
def chain(start: int = 0):
    last = count(number=start).set_caching_options(False)
    for _ in range(9):
        last = count(number=last.output).set_caching_options(False)


@dsl.pipeline(name="soak-parameters")
def parameters(kept: int = 4_000_000, handed: int = 2_500_000, seed: str = ""):
    # An object has room for 3 MiB, so what goes on to another pod is smaller than what is kept.
    write(size=kept, seed=seed).set_caching_options(False)
    last = write(size=handed, seed=seed).set_caching_options(False)
    for _ in range(6):
        last = hand_on(text=last.output).set_caching_options(False)


@dsl.pipeline(name="soak-loop")
def loop(items: list[int]):
    with dsl.ParallelFor(items, parallelism=20) as item:
        count(number=item).set_caching_options(False)


def compiled(pipeline) -> dict:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as package:
        compiler.Compiler().compile(pipeline, package.name)
        with open(package.name) as written:
            return next(yaml.safe_load_all(written))


if __name__ == "__main__":
    made = {"chain": chain, "parameters": parameters, "loop": loop}
    print(json.dumps({name: compiled(pipeline) for name, pipeline in made.items()}))

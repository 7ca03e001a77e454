"""The pipeline IR as nouns: read once, checked whole, then trusted by the engine.

May import: ``types``, ``conditions`` and ``placeholders`` of ``pipelines``, ``base``. Pure.
What the nouns are: ``model``; how a document becomes them: ``documents`` (YAML, JSON),
``messages`` (its shape) and ``parse`` (the IR's fields); what must hold among tasks: ``graph``,
and where a loop's item can be seen: ``items``; a run's arguments against the root's inputs:
``arguments``; which URIs its importers will be given: ``imports``.
"""

from bessemer.pipelines.spec.arguments import InvalidArguments, check_arguments
from bessemer.pipelines.spec.documents import load
from bessemer.pipelines.spec.model import InvalidSpec, Spec
from bessemer.pipelines.spec.parse import read_input

__all__ = ["InvalidArguments", "InvalidSpec", "Spec", "check_arguments", "load", "read_input"]

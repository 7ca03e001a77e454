"""The shape of a YAML text, told from its events: before anybody builds its values.

A text of YAML may harm its reader: libyaml builds values by recursion, so what nests too deep ends
the process; a few lines of aliases stand for gigabytes. Whoever takes YAML from others looks at
its shape first and refuses what it won't read, in its own words.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import yaml


class Shape(NamedTuple):
    """What was seen of a text; all of it, unless a bound was passed."""

    has_aliases: bool
    values: int  # scalars, lists, mappings and aliases
    depth: int  # of lists and mappings in each other; 1 for a flat one


def survey(text: str | bytes, loader: Any, *, depth: int, values: float = math.inf) -> Shape:
    """Look at a text event by event, until its end or until it has passed one of the bounds.

    Args:
        text: what somebody sent.
        loader: the class of PyYAML that is to read the text afterwards.
        depth: the most that the caller takes, as ``Shape`` counts it.
        values: likewise.

    Raises:
        yaml.YAMLError: it is no YAML.
    """
    has_aliases, seen, level, deepest = False, 0, 0, 0
    for event in yaml.parse(text, loader):
        has_aliases = has_aliases or isinstance(event, yaml.AliasEvent)
        seen += isinstance(event, yaml.NodeEvent)
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
            deepest = max(deepest, level)
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if seen > values or deepest > depth:
            break
    return Shape(has_aliases, seen, deepest)

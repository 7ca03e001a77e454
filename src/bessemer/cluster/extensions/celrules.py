"""``x-kubernetes-validations``: rules in CEL about a value, and about what it was before.

The Rust interpreter of ``common-expression-language`` runs them; what Kubernetes adds to CEL is
registered here. Source: k8s.io/apiextensions-apiserver pkg/apiserver/schema/cel,
k8s.io/apiserver/pkg/cel/library.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import re2

from bessemer.base import lazily
from bessemer.kinds.kind import Cause, Object
from bessemer.kinds.quantity import parse as parse_quantity

if TYPE_CHECKING:
    import cel
else:
    cel = lazily.module("cel")  # 0.2 s of start time, for who defines no rules

#: The steps that a rule may take, by the size of what it walks and how deep its loops are nested.
MOST_STEPS = 1_000_000
_LOOPS = re.compile(r"\.(?:all|exists|exists_one|map|filter)\s*\(\s*(\w+)?")
_REASONS = ("FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired",
            "FieldValueDuplicate")  # fmt: skip
_LONGEST_WORDS = 200


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) and (bool(parts.netloc) or parts.path.startswith("/"))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _find(text: str, pattern: str) -> str:
    found = re2.search(pattern, text)
    return str(found.group(0)) if found else ""


def _find_all(text: str, pattern: str, most: int = -1) -> list[str]:
    found = [str(each.group(0)) for each in re2.finditer(pattern, text)]
    return found if most < 0 else found[:most]


def _index_of(where: Any, what: Any) -> int:
    if isinstance(where, str):
        return where.find(what)
    return where.index(what) if what in where else -1


def _last_index_of(where: Any, what: Any) -> int:
    if isinstance(where, str):
        return where.rfind(what)
    return len(where) - 1 - where[::-1].index(what) if what in where else -1


def _replace(text: str, old: str, new: str, most: int = -1) -> str:
    return text.replace(old, new, most)


def _is_quantity(text: str) -> bool:
    try:
        parse_quantity(text)
    except ValueError:
        return False
    return True


#: What Kubernetes adds to CEL, as functions whose first argument may stand before the dot.
FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "charAt": lambda text, at: text[at : at + 1],
    "find": _find,
    "findAll": _find_all,
    "format": lambda text, values: re.sub(r"%[sdvf]", "{}", text).format(*values),
    "indexOf": _index_of,
    "isCIDR": _is_cidr,
    "isIP": _is_ip,
    "isQuantity": _is_quantity,
    "isSorted": lambda items: list(items) == sorted(items),
    "isURL": _is_url,
    "join": lambda items, between="": between.join(items),
    "lastIndexOf": _last_index_of,
    "lowerAscii": str.lower,
    "quantity": lambda text: float(parse_quantity(text)),
    "replace": _replace,
    "split": lambda text, by, most=-1: text.split(by, most - 1 if most > 0 else -1),
    "substring": lambda text, start, end=None: text[start:end],
    "sum": sum,
    "trim": str.strip,
    "upperAscii": str.upper,
}


@lru_cache(maxsize=1024)
def _compile(text: str) -> cel.Program:
    return cel.compile(text)


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        is_transition: it speaks of ``oldSelf``, and holds where there was none.
        depth: how deep its loops are nested.
    """

    text: str
    message: str
    message_text: str
    reason: str
    field_path: str
    is_transition: bool
    depth: int

    @classmethod
    def of(cls, described: Object) -> Rule:
        """The rule as a definition has it.

        Raises:
            ValueError: it is no CEL, or needs what is not there.
        """
        text = str(described.get("rule") or "")
        program = _compile(text)
        known = set(FUNCTIONS)
        for name in program.functions():
            if re.fullmatch(r"[a-zA-Z]\w*", name) and name not in known | _BUILT_IN:
                raise ValueError(f"undeclared reference to '{name}'")
        bound = {found[1] for found in _LOOPS.finditer(text)}
        if unknown := set(program.variables()) - bound - {"self", "oldSelf"}:
            raise ValueError(f"undeclared reference to '{sorted(unknown)[0]}'")
        if message := described.get("messageExpression"):
            _compile(str(message))
        reason = described.get("reason", "FieldValueInvalid")
        if reason not in _REASONS:
            raise ValueError(f"reason must be one of {', '.join(_REASONS)}, but got {reason!r}")
        return cls(
            text,
            str(described.get("message") or ""),
            str(described.get("messageExpression") or ""),
            reason,
            str(described.get("fieldPath") or ""),
            "oldSelf" in program.variables(),
            _depth(text),
        )

    def find_cause(self, value: Any, old: Any, path: str) -> Cause | None:
        """What it says against a value; an ``old`` that is no JSON is none."""
        has_old = old is None or isinstance(old, dict | list | str | int | float)
        if self.is_transition and not has_old:
            return None
        if self.depth and _size(value) ** self.depth > MOST_STEPS:
            return self._refuse(value, path, "the rule would take too many steps for this value")
        variables = {"self": value, **({"oldSelf": old} if has_old else {})}
        context = cel.Context(variables=variables, functions=dict(FUNCTIONS))
        try:
            if _compile(self.text).execute(context) is True:
                return None
        except (RuntimeError, ValueError, TypeError) as error:
            return self._refuse(value, path, f"rule evaluation error: {error}")
        return self._refuse(value, path, self._words(context))

    def _words(self, context: cel.Context) -> str:
        if self.message_text:
            try:
                said = _compile(self.message_text).execute(context)
            except (RuntimeError, ValueError, TypeError):
                said = ""
            if isinstance(said, str) and said.strip() and "\n" not in said:
                return said
        return self.message or f"failed rule: {self.text}"

    def _refuse(self, value: Any, path: str, words: str) -> Cause:
        where = path + self.field_path
        if self.reason == "FieldValueRequired":
            return Cause(where, f"Required value: {words}", self.reason)
        if self.reason == "FieldValueForbidden":
            return Cause(where, f"Forbidden: {words}", self.reason)
        name = "Duplicate value" if self.reason == "FieldValueDuplicate" else "Invalid value"
        if isinstance(value, dict | list):  # too much to be shown
            return Cause(where, f"{name}: {words}", self.reason)
        text = str(value) if not isinstance(value, bool) else str(value).lower()
        shown = f'"{text[:_LONGEST_WORDS]}"' if isinstance(value, str) else text
        return Cause(where, f"{name}: {shown}: {words}", self.reason)


_BUILT_IN = frozenset(
    """size has all exists exists_one map filter contains startsWith endsWith matches int uint
    double string bytes bool type timestamp duration getFullYear getMonth getDate getHours
    getMinutes getSeconds getMilliseconds getDayOfMonth getDayOfWeek getDayOfYear max min dyn
    optional of none hasValue value orValue or list""".split()  # noqa: SIM905 - a list of words
)


def _depth(text: str) -> int:
    """How deep loops stand in loops: by the brackets that they open."""
    deepest, open_loops, brackets = 0, [], 0
    starts = {text.index("(", found.start()) for found in _LOOPS.finditer(text)}
    for at, sign in enumerate(text):
        if sign in "([{":
            brackets += 1
            if at in starts:
                open_loops.append(brackets)
                deepest = max(deepest, len(open_loops))
        elif sign in ")]}":
            if open_loops and open_loops[-1] == brackets:
                open_loops.pop()
            brackets -= 1
    return deepest


def _size(value: Any) -> int:
    """Elements of the largest list or map in a value."""
    most, pending = 1, [value]
    while pending:
        found = pending.pop()
        if isinstance(found, dict | list):
            most = max(most, len(found))
            pending.extend(found.values() if isinstance(found, dict) else found)
    return most

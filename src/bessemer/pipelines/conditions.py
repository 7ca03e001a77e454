"""The conditions that the KFP compiler writes: a small part of CEL.

Grammar: ``a && b``, ``a || b``, ``!a``, ``( )``, ``== != < <= > >=``, ``int(x)``, ``double(x)``,
``string(x)``, ``inputs.parameter_values['name']`` and literals. Anything else is refused when the
pipeline is read, not when it runs. Source: sdk pipeline_spec_builder.py, condition groups.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from bessemer.base.errors import BessemerError
from bessemer.pipelines import types


class InvalidCondition(BessemerError):
    """The text is no condition, or can't be evaluated with these inputs."""


Values = Mapping[str, Any]
_Evaluate = Callable[[Values], Any]


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed condition; equal when its text is."""

    text: str
    inputs: frozenset[str]  # the parameters that it reads

    def evaluate(self, values: Values) -> bool:
        """Whether it holds for these input parameters.

        Raises:
            InvalidCondition: an input is missing, or of a type that can't be compared.
        """
        result = _compile(self.text)(values)
        if not isinstance(result, bool):
            raise InvalidCondition(
                f"a condition must be true or false, but {self.text!r} is {types.shorten(result)}"
            )
        return result


def parse(text: str) -> Expression:
    """Read a condition.

    Raises:
        InvalidCondition: it is not one that we know.
    """
    if len(text) > _MOST_TEXT:
        raise InvalidCondition(
            f"a condition may have {_MOST_TEXT} characters, but {types.shorten(text)} has "
            f"{len(text)}"
        )
    parser = _Parser(text)
    parser.parse()
    return Expression(text, frozenset(parser.inputs))


@lru_cache(maxsize=16)  # a loop asks the same one for each of its iterations
def _compile(text: str) -> _Evaluate:
    return _Parser(text).parse()


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)
    | (?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    | (?P<name>[A-Za-z_][A-Za-z_0-9.]*)
    | (?P<symbol>&&|\|\||==|!=|<=|>=|[<>!()\[\]])
    )""",
    re.VERBOSE | re.DOTALL,
)
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_ESCAPES: Mapping[str, str] = {
    **dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True)),
    **{char: char for char in "\\?\"'`"},
}
_MOST_TEXT = 64 * 1024
_MOST_DIGITS = 400  # a float ends with 309
_MOST_DEPTH = 50  # of parentheses, casts and negations in each other


class _Parser:
    """Recursive descent over the tokens; each method returns an evaluator."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.inputs: set[str] = set()
        self._tokens = self._split()
        self._at = 0
        self._depth = 0

    def parse(self) -> _Evaluate:
        result = self._or()
        if self._at < len(self._tokens):
            raise self._error(f"unexpected {self._tokens[self._at][1]!r}")
        return result

    def _split(self) -> list[tuple[str, str]]:
        tokens, at, end = [], 0, len(self.text.rstrip())
        while at < end:
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._error(f"unexpected {self.text[at:].strip()[:20]!r}")
            kind = str(match.lastgroup)
            tokens.append((kind, match[kind]))
            at = match.end()
        return tokens

    def _error(self, why: str) -> InvalidCondition:
        return InvalidCondition(
            f"{types.shorten(self.text, 1000)} is no condition that can be evaluated ({why}): use "
            "comparisons of inputs.parameter_values['name'] with literals, joined by && and !( )"
        )

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _take(self, expected: str = "") -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise self._error("it ends too early")
        token = self._tokens[self._at]
        if expected and token[1] != expected:
            raise self._error(f"expected {expected!r}, but got {token[1]!r}")
        self._at += 1
        return token

    def _or(self) -> _Evaluate:
        parts = [self._and()]
        while self._peek() == "||":
            self._take()
            parts.append(self._and())
        if len(parts) == 1:
            return parts[0]
        return lambda values: any(_truth(part(values)) for part in parts)

    def _and(self) -> _Evaluate:
        parts = [self._comparison()]
        while self._peek() == "&&":
            self._take()
            parts.append(self._comparison())
        if len(parts) == 1:
            return parts[0]
        return lambda values: all(_truth(part(values)) for part in parts)

    def _comparison(self) -> _Evaluate:
        left = self._unary()
        sign = self._peek()
        if sign not in _COMPARE:
            return left
        self._take()
        right = self._unary()
        return lambda values: _compare(sign, left(values), right(values))

    def _unary(self) -> _Evaluate:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._error(f"it is nested more than {_MOST_DEPTH} levels deep")
        result = self._negation() if self._peek() == "!" else self._primary()
        self._depth -= 1
        return result

    def _negation(self) -> _Evaluate:
        self._take("!")
        inner = self._unary()
        return lambda values: not _truth(inner(values))

    def _primary(self) -> _Evaluate:
        kind, text = self._take()
        if kind == "number":
            if len(text) > _MOST_DIGITS:
                raise self._error(f"a number may have {_MOST_DIGITS} digits")
            number = float(text) if any(mark in text for mark in ".eE") else int(text)
            return lambda _: number
        if kind == "string":
            unquoted = self._unquote(text)
            return lambda _: unquoted
        if text == "(":
            inner = self._or()
            self._take(")")
            return inner
        if kind == "name":
            return self._named(text)
        raise self._error(f"unexpected {text!r}")

    def _unquote(self, text: str) -> str:
        def unescape(match: re.Match[str]) -> str:
            if match[1] not in _ESCAPES:
                raise self._error(f"unknown escape {match[0]!r}")
            return _ESCAPES[match[1]]

        return re.sub(r"\\(.)", unescape, text[1:-1], flags=re.DOTALL)

    def _named(self, name: str) -> _Evaluate:
        if name in _WORDS:
            return lambda _: _WORDS[name]
        if name == "inputs.parameter_values":
            self._take("[")
            kind, quoted = self._take()
            if kind != "string":
                raise self._error(f"expected a quoted name, but got {quoted!r}")
            self._take("]")
            self.inputs.add(quoted[1:-1])
            return lambda values: _input(values, quoted[1:-1])
        if name in _CASTS:
            self._take("(")
            inner = self._or()
            self._take(")")
            cast = _CASTS[name]
            return lambda values: cast(inner(values))
        raise self._error(f"unknown name {name!r}")


def _input(values: Values, name: str) -> Any:
    if name not in values:
        raise InvalidCondition(f"the condition reads input parameter {name!r}, which has no value")
    return values[name]


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise InvalidCondition(f"&&, || and ! need true or false, but got {types.shorten(value)}")


def _to_int(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidCondition(f"int() needs a number, but got {types.shorten(value)}") from None


def _to_double(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidCondition(
            f"double() needs a number, but got {types.shorten(value)}"
        ) from None


def _to_string(value: Any) -> str:
    if value is None:
        raise InvalidCondition("string() needs a value, but got null")
    return types.to_text(value)


_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "int": _to_int,
    "double": _to_double,
    "string": _to_string,
}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compare(sign: str, left: Any, right: Any) -> bool:
    alike = (_is_number(left) and _is_number(right)) or type(left) is type(right)
    if not alike:
        # Values of different types are never equal; they have no order.
        if sign in ("==", "!="):
            return sign == "!="
        raise InvalidCondition(
            f"{types.shorten(left)} {sign} {types.shorten(right)}: "
            "only two numbers or two texts have an order"
        )
    try:
        return bool(_COMPARE[sign](left, right))
    except TypeError:
        raise InvalidCondition(f"{types.shorten(left)} has no order; use == or !=") from None

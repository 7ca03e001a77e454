"""The words of broken rules, and the rules about names that all kinds share.

Source: k8s.io/apimachinery pkg/util/validation (and field/errors); SDKs match on these words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from bessemer.kinds.kind import Cause

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_PORT_NAME = re.compile(r"[-a-z0-9]+")

LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    r"for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
    "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_QUALIFIED_WORDS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "
    "'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_CONFIG_KEY_WORDS = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. "
    "'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_ENV_NAME_WORDS = (
    "a valid environment variable name must consist only of printable ASCII characters other than "
    "'='"
)


# Surely a key of a ConfigMap; there may be hundreds of thousands.
_PLAIN_KEY = re.compile(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}")
#: Pods that one object may want at once; the node takes a tenth of them.
#: What a port may speak.
PROTOCOLS = ("SCTP", "TCP", "UDP")
MOST_AT_ONCE = 1000
#: Causes that are told of one refusal; who has found more of them need not go on.
MOST_CAUSES = 100


# ---- the words


def required(field: str, detail: str = "") -> Cause:
    """``Required value``."""
    return Cause(
        field, f"Required value: {detail}" if detail else "Required value", "FieldValueRequired"
    )


def bad(field: str, value: Any, detail: str) -> Cause:
    """``Invalid value: "x": detail``."""
    return Cause(field, f"Invalid value: {_show(value)}: {detail}")


def unsupported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """``Unsupported value: "x": supported values: "A", "B"``."""
    words = ", ".join(_show(word) for word in sorted(supported))
    message = f"Unsupported value: {_show(value)}: supported values: {words}"
    return Cause(field, message, "FieldValueNotSupported")


def duplicate(field: str, value: Any) -> Cause:
    """``Duplicate value: "x"``."""
    return Cause(field, f"Duplicate value: {_show(value)}", "FieldValueDuplicate")


def forbidden(field: str, detail: str) -> Cause:
    """``Forbidden: detail``."""
    return Cause(field, f"Forbidden: {detail}", "FieldValueForbidden")


def unknown(field: str, value: Any) -> Cause:
    """``Not found: "x"``: the value names something that is not there."""
    return Cause(field, f"Not found: {_show(value)}", "FieldValueNotFound")


def too_long(field: str, limit: int) -> Cause:
    """``Too long: may not be more than 262144 bytes``."""
    return Cause(field, f"Too long: may not be more than {limit} bytes", "FieldValueTooLong")


def too_many(field: str, count: int, limit: int) -> Cause:
    """A list with more items than this cluster takes."""
    text = f"Too many: {count}: must have at most {limit} items"
    return Cause(field, text, "FieldValueTooMany")


def immutable(field: str, value: Any) -> Cause:
    """``Invalid value: …: field is immutable``."""
    return bad(field, value, "field is immutable")


def _show(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- names


def label(field: str, value: str) -> list[Cause]:
    """An RFC 1123 label, as namespaces, containers and volumes are named."""
    return _matches(field, value, _LABEL, 63, LABEL_WORDS)


def label_1035(field: str, value: str) -> list[Cause]:
    """An RFC 1035 label, as services are named."""
    return _matches(field, value, _LABEL_1035, 63, LABEL_1035_WORDS)


def subdomain(field: str, value: str) -> list[Cause]:
    """An RFC 1123 subdomain, as most objects are named."""
    return _matches(field, value, _SUBDOMAIN, 253, SUBDOMAIN_WORDS)


def path_segment(field: str, value: str) -> list[Cause]:
    """A name that fits between two slashes, as roles are named."""
    if value in (".", ".."):
        return [bad(field, value, f"may not be '{value}'")]
    return [bad(field, value, f"may not contain '{sign}'") for sign in "/%" if sign in value]


def config_key(field: str, value: str) -> list[Cause]:
    """A key of a ConfigMap or Secret: also a file's name."""
    if value in (".", "..") or value.startswith(".."):
        return [bad(field, value, "must not be '.' and must not start with '..'")]
    return _matches(field, value, _CONFIG_KEY, 253, _CONFIG_KEY_WORDS)


def config_keys(field: str, keys: Iterable[str]) -> list[Cause]:
    """All keys of a ConfigMap's or Secret's ``field``."""
    causes: list[Cause] = []
    for key in keys:
        if _PLAIN_KEY.fullmatch(key) or len(causes) > MOST_CAUSES:
            continue
        causes += config_key(f"{field}[{key}]", key)
    return causes


def env_name(field: str, value: str) -> list[Cause]:
    """The name of an environment variable."""
    return [] if _ENV_NAME.fullmatch(value) else [bad(field, value, _ENV_NAME_WORDS)]


def port_name(field: str, value: str) -> list[Cause]:
    """The name of a container's port: 15 characters, at least one letter."""
    causes = []
    if len(value) > 15:
        causes.append(bad(field, value, "must be no more than 15 characters"))
    if not _PORT_NAME.fullmatch(value):
        causes.append(
            bad(
                field,
                value,
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            )
        )
    elif not re.search("[a-z]", value):
        causes.append(bad(field, value, "must contain at least one letter (a-z)"))
    return causes


def qualified_name(field: str, value: str) -> list[Cause]:
    """``name`` or ``prefix/name``, as label keys and finalizers are."""
    prefix, slash, name = value.rpartition("/")
    causes = []
    if slash and not prefix:
        causes.append(bad(field, value, "prefix part must be non-empty"))
    elif slash:
        causes += [
            bad(field, value, "prefix part " + cause.message.partition(": ")[2].partition(": ")[2])
            for cause in subdomain(field, prefix)
        ]
    if not name:
        causes.append(bad(field, value, "name part must be non-empty"))
    elif len(name) > 63:
        causes.append(bad(field, value, "name part must be no more than 63 characters"))
    if not _QUALIFIED.fullmatch(name):
        causes.append(bad(field, value, f"name part {_QUALIFIED_WORDS}"))
    return causes


def labels(field: str, values: dict[str, str]) -> list[Cause]:
    """Label keys and values."""
    causes: list[Cause] = []
    for key, value in values.items():
        if len(causes) > MOST_CAUSES:
            break
        if not _QUALIFIED.fullmatch(key) or len(key) > 63:
            causes += qualified_name(field, key)
        if not value:
            continue
        if len(value) > 63:
            causes.append(bad(field, value, "must be no more than 63 characters"))
        elif not _QUALIFIED.fullmatch(value):
            causes.append(bad(field, value, _LABEL_VALUE_WORDS))
    return causes


def selector(field: str, value: dict[str, Any]) -> list[Cause]:
    """A metav1.LabelSelector."""
    causes = labels(f"{field}.matchLabels", value.get("matchLabels") or {})
    for index, term in enumerate(value.get("matchExpressions") or ()):
        path = f"{field}.matchExpressions[{index}]"
        operator, values = term.get("operator"), term.get("values")
        if operator in ("In", "NotIn") and not values:
            detail = "must be specified when `operator` is 'In' or 'NotIn'"
            causes.append(required(f"{path}.values", detail))
        elif operator in ("Exists", "DoesNotExist") and values:
            detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            causes.append(forbidden(f"{path}.values", detail))
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            causes.append(bad(f"{path}.operator", operator, "not a valid selector operator"))
        causes += qualified_name(f"{path}.key", term.get("key", ""))
    return causes


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, as JSON has them: true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def port_number(field: str, value: Any) -> list[Cause]:
    """1 to 65535."""
    if isinstance(value, int) and 1 <= value <= 65535:
        return []
    return [bad(field, value, "must be between 1 and 65535, inclusive")]


def not_negative(field: str, value: Any) -> list[Cause]:
    """0 or more; absent is fine."""
    if value is None or value >= 0:
        return []
    return [bad(field, value, "must be greater than or equal to 0")]


def at_once(field: str, pods: int | None) -> list[Cause]:
    """How many pods one object wants at once: each takes the one node's time, also if it waits."""
    if pods is None or pods <= MOST_AT_ONCE:
        return []
    text = f"must be at most {MOST_AT_ONCE}: this cluster has one node, and more would only wait"
    return [bad(field, pods, text)]


def one_of(field: str, value: Any, supported: Iterable[str]) -> list[Cause]:
    """One of a few words."""
    supported = tuple(supported)
    return [] if value in supported else [unsupported(field, value, supported)]


def _matches(
    field: str, value: str, pattern: re.Pattern[str], longest: int, words: str
) -> list[Cause]:
    causes = []
    if len(value) > longest:
        causes.append(bad(field, value, f"must be no more than {longest} characters"))
    if not pattern.fullmatch(value):
        causes.append(bad(field, value, words))
    return causes

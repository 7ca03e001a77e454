"""What a Job's spec must fulfil, and what of it may change.

Source: k8s.io/kubernetes pkg/apis/batch/validation/validation.go.
"""

from __future__ import annotations

from typing import Any

from bessemer.kinds import labelselector, meta, rules, template
from bessemer.kinds.kind import Cause, Object

UID_LABELS = ("batch.kubernetes.io/controller-uid", "controller-uid")
NAME_LABELS = ("batch.kubernetes.io/job-name", "job-name")
_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit",
    "ttlSecondsAfterFinished", "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
_MODES = ("Indexed", "NonIndexed")
_REPLACEMENTS = ("Failed", "TerminatingOrFailed")
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
# Completions of an Indexed Job, and how parallel it may be with more than that: they keep its
# status small.
_MANY = 100_000
_MOST_WITH_MANY = 10_000
_MOST_RULES = 20
_MOST_VALUES = 255
_MANAGER_CHARS = 63
_HOSTNAME_CHARS = 63
_INDEXES_CHARS = 64 * 1024
_IMMUTABLE = ("podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")


def check(new: Object, old: Object | None) -> list[Cause]:
    """The rules that a defaulted Job breaks."""
    spec = new["spec"]
    causes: list[Cause] = []
    for key in _COUNTS:
        causes += rules.not_negative(f"spec.{key}", spec.get(key))
    at_once = [spec[key] for key in ("parallelism", "completions") if spec.get(key) is not None]
    causes += rules.at_once("spec.parallelism", min(at_once, default=None))
    causes += _check_manager(spec.get("managedBy"))
    causes += _check_mode(new, spec)
    causes += _check_failure_policy(spec)
    causes += _check_success_policy(spec)
    supported = ("Failed",) if spec.get("podFailurePolicy") is not None else _REPLACEMENTS
    causes += rules.one_of(
        "spec.podReplacementPolicy", spec.get("podReplacementPolicy"), supported
    )
    if spec.get("manualSelector"):
        causes += _check_manual_selector(spec)
    else:
        causes += _check_selector(new, spec)
    causes += template.check(new, restart=("Always", "Never", "OnFailure"))
    causes += _check_restart(spec)
    if old is not None and not causes:
        causes += _check_change(spec, old["spec"])
    return causes


def _check_manager(value: str | None) -> list[Cause]:
    if value is None:
        return []
    field = "spec.managedBy"
    prefix, slash, path = value.partition("/")
    if not slash or not prefix or not path:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        return [rules.bad(field, value, text)]
    causes = rules.subdomain(field, prefix)
    if len(value) > _MANAGER_CHARS:
        causes.append(rules.too_long(field, _MANAGER_CHARS))
    return causes


# ---- completion mode


def _check_mode(job: Object, spec: Object) -> list[Cause]:
    causes = rules.one_of("spec.completionMode", spec["completionMode"], _MODES)
    most = spec.get("maxFailedIndexes")
    if most is not None and spec.get("backoffLimitPerIndex") is None:
        text = "when maxFailedIndexes is specified"
        causes.append(rules.required("spec.backoffLimitPerIndex", text))
    if spec["completionMode"] == "Indexed":
        return causes + _check_indexed(job, spec)
    return causes + [
        rules.bad(f"spec.{key}", spec[key], "requires indexed completion mode")
        for key in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
        if spec.get(key) is not None
    ]


def _check_indexed(job: Object, spec: Object) -> list[Cause]:
    completions = spec.get("completions")
    if completions is None:
        return [rules.required("spec.completions", "when completion mode is Indexed")]
    causes = _at_most(spec, "parallelism", _MANY, " when completion mode is Indexed")
    most = spec.get("maxFailedIndexes")
    if most is not None and most > completions:
        text = "must be less than or equal to completions"
        causes.append(rules.bad("spec.maxFailedIndexes", most, text))
    causes += _at_most(spec, "maxFailedIndexes", _MANY, "")
    if completions > _MANY and spec.get("backoffLimitPerIndex") is not None:
        if most is None:
            text = f"must be specified when completions is above {_MANY}"
            causes.append(rules.required("spec.maxFailedIndexes", text))
        where = f" when completions are above {_MANY} and used with backoff limit per index"
        for key in ("parallelism", "maxFailedIndexes"):
            causes += _at_most(spec, key, _MOST_WITH_MANY, where)
    return causes + _check_hostname(job, completions)


def _at_most(spec: Object, key: str, limit: int, where: str) -> list[Cause]:
    value = spec.get(key)
    if value is None or value <= limit:
        return []
    return [rules.bad(f"spec.{key}", value, f"must be less than or equal to {limit}{where}")]


def _check_hostname(job: Object, completions: int) -> list[Cause]:
    """A pod of an index is named after Job and index, also for the network."""
    name = str(job["metadata"].get("name") or "")
    last = f"{name}-{completions - 1}"
    if completions < 1 or len(last) <= _HOSTNAME_CHARS:
        return []
    text = (
        f"will not able to create pod with invalid DNS label: {last}: must be no more than "
        f"{_HOSTNAME_CHARS} characters"
    )
    return [rules.bad("metadata.name", name, text)]


# ---- policies


def _check_failure_policy(spec: Object) -> list[Cause]:
    policy = spec.get("podFailurePolicy")
    if policy is None:
        return []
    field = "spec.podFailurePolicy.rules"
    found = policy.get("rules") or ()
    causes = _too_many(field, found, _MOST_RULES)
    pod = meta.dig(spec, "template.spec") or {}
    names = {
        container.get("name")
        for part in ("containers", "initContainers")
        for container in pod.get(part) or ()
    }
    for index, rule in enumerate(found):
        causes += _check_failure_rule(spec, rule, f"{field}[{index}]", names)
    return causes


def _check_failure_rule(spec: Object, rule: Object, field: str, names: set[Any]) -> list[Cause]:
    action = rule.get("action")
    causes: list[Cause] = []
    if not action:
        causes.append(rules.required(f"{field}.action", _valid(_ACTIONS)))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        text = "requires the backoffLimitPerIndex to be set"
        causes.append(rules.bad(f"{field}.action", action, text))
    else:
        causes += rules.one_of(f"{field}.action", action, _ACTIONS)
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    if codes is not None:
        causes += _check_codes(codes, f"{field}.onExitCodes", names)
    causes += _check_conditions(conditions, f"{field}.onPodConditions")
    if codes is not None and conditions:
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        causes.append(Cause(field, f"Invalid value: {text}"))
    elif codes is None and not conditions:
        text = "specifying one of OnExitCodes and OnPodConditions is required"
        causes.append(Cause(field, f"Invalid value: {text}"))
    return causes


def _check_codes(codes: Object, field: str, names: set[Any]) -> list[Cause]:
    operator, values = codes.get("operator"), codes.get("values") or []
    causes: list[Cause] = []
    if not operator:
        causes.append(rules.required(f"{field}.operator", _valid(("In", "NotIn"))))
    else:
        causes += rules.one_of(f"{field}.operator", operator, ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in names:
        text = "must be one of the container or initContainer names in the pod template"
        causes.append(rules.bad(f"{field}.containerName", name, text))
    if not values:
        causes.append(rules.bad(f"{field}.values", values, "at least one value is required"))
    causes += _too_many(f"{field}.values", values, _MOST_VALUES)
    for index, value in enumerate(values[:_MOST_VALUES]):
        where = f"{field}.values[{index}]"
        if operator == "In" and value == 0:
            causes.append(rules.bad(where, value, "must not be 0 for the In operator"))
        if value in values[:index]:
            causes.append(rules.duplicate(where, value))
    if values != sorted(values):
        causes.append(rules.bad(f"{field}.values", values, "must be ordered"))
    return causes


def _check_conditions(patterns: Any, field: str) -> list[Cause]:
    causes = _too_many(field, patterns, _MOST_RULES)
    for index, pattern in enumerate(patterns):
        causes += rules.qualified_name(f"{field}[{index}].type", pattern.get("type", ""))
        causes += rules.one_of(
            f"{field}[{index}].status", pattern.get("status"), ("False", "True", "Unknown")
        )
    return causes


def _check_success_policy(spec: Object) -> list[Cause]:
    policy, completions = spec.get("successPolicy"), spec.get("completions")
    if policy is None or completions is None or spec["completionMode"] != "Indexed":
        return []
    field = "spec.successPolicy.rules"
    found = policy.get("rules") or ()
    if not found:
        text = "at least one rules must be specified when the successPolicy is specified"
        return [rules.required(field, text)]
    causes = _too_many(field, found, _MOST_RULES)
    for index, rule in enumerate(found):
        causes += _check_success_rule(rule, f"{field}[{index}]", completions)
    return causes


def _check_success_rule(rule: Object, field: str, completions: int) -> list[Cause]:
    count, named = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and named is None:
        text = "at least one of succeededCount or succeededIndexes must be specified"
        return [rules.required(field, text)]
    causes: list[Cause] = []
    limits = [(completions, "the number of specified completions")]
    if named is not None:
        path = f"{field}.succeededIndexes"
        if len(named) > _INDEXES_CHARS:
            causes.append(rules.too_long(path, _INDEXES_CHARS))
        total, why = count_indexes(named, completions)
        if why:
            text = f"error parsing succeededIndexes: {why}"
            causes.append(rules.bad(path, named, text))
        what = "the number of indexes in the specified succeededIndexes field"
        limits.append((total, what))
    causes += rules.not_negative(f"{field}.succeededCount", count)
    for limit, what in limits:
        if count is not None and count > limit:
            text = f"must be less than or equal to {limit} ({what})"
            causes.append(rules.bad(f"{field}.succeededCount", count, text))
    return causes


def count_indexes(text: str, completions: int) -> tuple[int, str]:
    """How many indexes ``0-2,5`` names; and, in upstream's words, why it can't be read."""
    total, last = 0, -1
    for part in text.split(",") if text else ():
        ends = part.split("-")
        if why := _check_ends(part, ends, completions):
            return 0, why
        first, final = int(ends[0]), int(ends[-1])
        for before, current in ((last, first), (first, final if len(ends) == 2 else first + 1)):
            if before >= current:
                return 0, f"non-increasing order, previous: {before}, current: {current}"
        total, last = total + final - first + 1, final
    return total, ""


def _check_ends(part: str, ends: list[str], completions: int) -> str:
    if len(ends) > 2:
        return (
            f'the fragment "{part}" violates the requirement that an index interval can have '
            "at most two parts separated by '-'"
        )
    for end in ends:
        if not end.isdecimal():
            return f'cannot convert string to integer for index: "{end}"'
        if int(end) >= completions:
            return f'too large index: "{end}"'
    return ""


def _too_many(field: str, values: Any, limit: int) -> list[Cause]:
    if len(values) <= limit:
        return []
    text = f"Too many: {len(values)}: must have at most {limit} items"
    return [Cause(field, text, "FieldValueTooMany")]


def _valid(words: tuple[str, ...]) -> str:
    return "valid values: [" + " ".join(f'"{word}"' for word in words) + "]"


# ---- selector, template, change


def _check_selector(job: Object, spec: Object) -> list[Cause]:
    """A generated selector picks this Job's pods alone."""
    uid, name = job["metadata"].get("uid"), job["metadata"].get("name")
    if not uid:
        return []
    labels = meta.dig(spec, "template.metadata.labels") or {}
    causes: list[Cause] = []
    for keys, value in ((UID_LABELS, uid), (NAME_LABELS, name)):
        for key in keys:
            if labels.get(key) != value:
                text = f"must be '{value}'"
                found = labels.get(key, "")
                causes.append(rules.bad(f"spec.template.metadata.labels[{key}]", found, text))
    wanted = meta.dig(spec, "selector.matchLabels") or {}
    own = dict.fromkeys(UID_LABELS, uid) | dict.fromkeys(NAME_LABELS, name)
    if any(own.get(key) != value for key, value in wanted.items()):
        text = "`selector` not auto-generated"
        causes.append(rules.bad("spec.selector", spec.get("selector"), text))
    return causes


def _check_manual_selector(spec: Object) -> list[Cause]:
    selector = spec.get("selector")
    if selector is None:
        return [rules.required("spec.selector")]
    causes = rules.selector("spec.selector", selector)
    labels = meta.dig(spec, "template.metadata.labels") or {}
    if not causes and not labelselector.selects(selector, labels):
        text = "`selector` does not match template `labels`"
        causes.append(rules.bad("spec.template.metadata.labels", labels, text))
    return causes


def _check_restart(spec: Object) -> list[Cause]:
    field = "spec.template.spec.restartPolicy"
    policy = meta.dig(spec, "template.spec.restartPolicy")
    if policy in (None, "", "Always"):
        return [rules.required(field, 'valid values: "OnFailure", "Never"')]
    if policy == "OnFailure" and spec.get("podFailurePolicy") is not None:
        text = 'only "Never" is supported when podFailurePolicy is specified'
        return [rules.bad(field, policy, text)]
    return []


def _check_change(new: Object, old: Object) -> list[Cause]:
    causes = [
        rules.immutable(f"spec.{key}", new.get(key))
        for key in _IMMUTABLE
        if new.get(key) != old.get(key)
    ]
    completions = new.get("completions")
    if completions == old.get("completions"):
        return causes
    if new["completionMode"] != "Indexed":
        return [*causes, rules.immutable("spec.completions", completions)]
    if completions != new["parallelism"]:
        text = "can only be modified in tandem with spec.parallelism"
        causes.append(rules.bad("spec.completions", completions, text))
    return causes

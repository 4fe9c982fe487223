"""What is wrong with a rule, by the fields of its form: an integration's, or that of one key."""

from keyfold.domain.permissions import ENVIRONMENTS
from keyfold.web.console.faults import Fault, faults_of, first
from keyfold.web.problems import Problem
from keyfold.web.texts import has, t

_OPTIONS = {
    "options/send/topics": "send",
    "options/send/autofill": "autofill",
    "options/receive/topics": "receive",
    "options/receive/filters": "filters",
    "conditions/integrations": "integrations",
    "conditions/partners": "partners",
    "conditions/environments": "environments",
    "sourceNetworks": "networks",
    "linkLifetimeSeconds": "link",
}
"""Fields that the form calls otherwise than the API's document."""
_RULE = ("permitted", "send", "autofill", "receive", "filters")


def integration_faults(problem: Problem | None) -> list[Fault]:
    """Of an integration's form, whose fields of an environment begin with its name."""
    return faults_of(problem.errors, _integration_label, _integration_field) if problem else []


def key_faults(problem: Problem | None, rule: str) -> list[Fault]:
    """Of a key's form, whose fields of the rule begin with `rule` and a dot."""

    def field(pointer: str) -> str:
        name = _field(pointer.removeprefix(f"{rule}.").lstrip("/"))
        return f"{rule}.{name}" if name in _RULE else name

    return (
        faults_of(problem.errors, lambda name: _label("narrow.field", name.removeprefix(f"{rule}.")), field)
        if problem
        else []
    )


def _integration_field(pointer: str) -> str:
    """The fields of the form itself, `dev.rate`, are meant by their own names."""
    where, _, rest = pointer.removeprefix("/environments").lstrip("/").partition("/")
    return (
        f"{where}.{_field(rest.removeprefix('policy/'))}"
        if where in ENVIRONMENTS and rest
        else _field(pointer.lstrip("/"))
    )


def _integration_label(name: str) -> str:
    environment, dot, field = name.partition(".")
    if not dot:
        return _label("rule", name)
    word = _label("rule.policy", field) or _label("rule", field)
    return f"{environment}, {word}" if word else ""


def _field(path: str) -> str:
    return next((name for place, name in _OPTIONS.items() if f"{path}/".startswith(f"{place}/")), first(path))


def _label(group: str, name: str) -> str:
    return t(f"{group}.{name}") if has(f"{group}.{name}") else ""

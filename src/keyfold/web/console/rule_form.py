"""An integration as a form: its fields are written from what is kept, and read back into the API's own document."""

import re
from typing import Any, NamedTuple

import msgspec

from keyfold.domain.integration import Integration, Terms
from keyfold.domain.permissions import ENVIRONMENTS, Environment
from keyfold.domain.policy import Offer
from keyfold.domain.refusals import Invalid
from keyfold.domain.rule import ACTIONS, Options
from keyfold.web.v1.integrations import IntegrationDocument, OfferDocument
from keyfold.web.v1.patching import decoded

PERIODS = ("lifetimeSeconds", "rotationSeconds", "overlapSeconds", "idleSeconds")
NUMBERS = ("liveKeys", "connections", "eventBytes")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_PERIOD = re.compile(rf"(\d{{1,12}})\s*([{''.join(_UNITS)}])[a-z]*", re.IGNORECASE)
Fields = dict[str, list[str]]
Json = dict[str, Any]


class EnvironmentForm(NamedTuple):
    """The fields of one environment, as texts."""

    name: Environment
    is_offered: bool
    permitted: tuple[str, ...]
    fields: dict[str, str]


class RuleForm(NamedTuple):
    """All fields of the form, as texts."""

    fields: dict[str, str]
    environments: list[EnvironmentForm]


def form_of(terms: Terms) -> RuleForm:
    """The form of what is kept; an environment that isn't offered begins with what is usual."""
    shown, usual = terms.presentation, Offer()
    fields = {
        "name": terms.name,
        "description": shown.description,
        "color": shown.color,
        "icon": shown.icon or "",
        "link": period(terms.link_lifetime_seconds),
        "origins": "\n".join(terms.origins),
    }
    offered = terms.environments
    return RuleForm(fields, [_fields(each, offered.get(each, usual), each in offered) for each in ENVIRONMENTS])


def form_of_fields(given: Fields) -> RuleForm:
    """The form as somebody sent it."""
    sent = {name: values[-1] for name, values in given.items()}
    offered = given.get("environments", [])
    return RuleForm(
        {name: sent.get(name, "") for name in ("name", "description", "color", "icon", "link", "origins")},
        [
            EnvironmentForm(
                each,
                each in offered,
                tuple(given.get(f"{each}.permitted", [])),
                {name.removeprefix(f"{each}."): text for name, text in sent.items() if name.startswith(f"{each}.")},
            )
            for each in ENVIRONMENTS
        ],
    )


def fields_of(form: RuleForm) -> Fields:
    """The form as it is sent when nobody has touched it."""
    given = {name: [text] for name, text in form.fields.items()}
    given["environments"] = [each.name for each in form.environments if each.is_offered]
    for each in form.environments:
        given[f"{each.name}.permitted"] = [*each.permitted]
        given |= {f"{each.name}.{name}": [text] for name, text in each.fields.items()}
    return given


def terms_of(given: Fields, kept: Integration | None) -> Terms:
    """The terms that a form asks for; what it has no field for stays as it is kept. Raises `Invalid`, or
    `ValidationException` as the API does."""
    sent = {name: values[-1].strip().replace("\r\n", "\n") for name, values in given.items()}
    base: Json = msgspec.to_builtins(IntegrationDocument.of(kept)) if kept else {}
    offered = [each for each in ENVIRONMENTS if each in given.get("environments", [])]
    before: Json = base.get("environments", {})
    document = base | {
        "name": sent.get("name", ""),
        "description": sent.get("description", ""),
        "color": sent.get("color", ""),
        "icon": sent.get("icon") or None,
        "linkLifetimeSeconds": _seconds("link", sent.get("link", "")) or 0,
        "origins": lines(sent.get("origins", "")),
        "environments": {each: _offer(each, given, sent, before.get(each)) for each in offered},
    }
    return decoded(IntegrationDocument, document).terms()


def rule_fields(options: Options) -> dict[str, str]:
    """The fields of what narrows events."""
    send, receive = options.send, options.receive
    return {
        "send": "\n".join(send.topics),
        "autofill": _json(send.autofill) if send.autofill else "",
        "receive": "\n".join(receive.topics),
        "filters": _json(receive.filters) if receive.filters else "",
    }


def rule_of(name: str, given: Fields, kept: Json) -> Json:
    """`permitted` and `options`, as fields that begin with the name and a dot say; what there is no field for stays as
    it is kept. Raises `Invalid`."""
    here = {
        field: given.get(f"{name}.{field}", [""])[-1].strip() for field in ("send", "autofill", "receive", "filters")
    }
    options = dict(kept)
    options["send"] = {**options.get("send", {}), "topics": lines(here["send"])}
    options["receive"] = {**options.get("receive", {}), "topics": lines(here["receive"])}
    _put(options["send"], "autofill", _parsed(f"{name}.autofill", here["autofill"]))
    _put(options["receive"], "filters", _parsed(f"{name}.filters", here["filters"]))
    return {"permitted": [each for each in ACTIONS if each in given.get(f"{name}.permitted", [])], "options": options}


def version_of(given: Fields) -> int:
    """The version that the form was made of. Raises `Invalid`."""
    text = given.get("version", [""])[-1]
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Invalid("This form is incomplete. Load the page again.")
    return int(text)


def _fields(name: Environment, offer: Offer, is_offered: bool) -> EnvironmentForm:
    policy: Json = msgspec.to_builtins(offer.policy)
    rate = offer.policy.rate
    fields = {
        **rule_fields(offer.options),
        "nameTemplate": offer.policy.name_template,
        "rate": f"{rate.requests}/{period(rate.seconds)}" if rate else "",
        "overlapSeconds": period(offer.policy.overlap_seconds),
        **{each: period(policy.get(each)) for each in PERIODS if each != "overlapSeconds"},
        **{each: str(policy.get(each, "")) for each in NUMBERS},
    }
    return EnvironmentForm(name, is_offered, offer.permitted, fields)


def _offer(name: Environment, given: Fields, sent: dict[str, str], kept: Json | None) -> Json:
    here = {key.removeprefix(f"{name}."): text for key, text in sent.items() if key.startswith(f"{name}.")}
    base = kept or msgspec.to_builtins(OfferDocument())
    policy = dict(base.get("policy", {}))
    for each in PERIODS:
        _put(policy, each, _seconds(f"{name}.{each}", here.get(each, "")))
    for each in NUMBERS:
        _put(policy, each, _number(f"{name}.{each}", here.get(each, "")))
    _put(policy, "nameTemplate", here.get("nameTemplate") or None)
    _put(policy, "rate", _rate(f"{name}.rate", here.get("rate", "")))
    return {**rule_of(name, given, base.get("options", {})), "policy": policy}


def _put(into: Json, name: str, value: object) -> None:
    """What is left empty is as usual."""
    if value is None:
        into.pop(name, None)
    else:
        into[name] = value


def period(seconds: int | None) -> str:
    """`90d`, `12h`, `45s`: the largest unit that it is a whole number of."""
    if seconds is None:
        return ""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds // _UNITS[unit]}{unit}"
    return f"{seconds}s"


def _seconds(place: str, text: str) -> int | None:
    if not text:
        return None
    found = _PERIOD.fullmatch(text.strip())
    if found is None and text.strip() != "0":
        raise Invalid("This is no period.", (place, "Such as 90d, 12h, 30m or 45s."))
    return int(found[1]) * _UNITS[found[2].lower()] if found else 0


def _number(place: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise Invalid("This is no number.", (place, "A whole number."))
    return int(text)


def _rate(place: str, text: str) -> Json | None:
    if not text:
        return None
    requests, _, span = text.partition("/")
    if not span:
        raise Invalid("This is no rate.", (place, "Requests in a period, such as 600/1m."))
    return {"requests": _number(place, requests.strip()), "seconds": _seconds(place, span)}


def lines(text: str) -> list[str]:
    """What stands in a field that takes one thing a line."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _parsed(place: str, text: str) -> Any:
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise Invalid("This is no JSON.", (place, "As in the API's document.")) from None

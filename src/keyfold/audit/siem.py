"""Records as what SIEMs know: OCSF 1.6.0 (schema.ocsf.io) and ECS 9.4 (elastic.co/docs/reference/ecs).

Nothing is lost: the record goes along as it stands in the log, in `raw_data` and in `event.original`. A type that
isn't named here is an API Activity, so that a new one is never missing at the SIEM.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from keyfold import __version__
from keyfold.domain.networks import host
from keyfold.domain.record import Record

OCSF = "1.6.0"
ECS = "9.4.0"
PRODUCT = "Keyfold"

Json = dict[str, Any]


class _Class(NamedTuple):
    uid: int
    name: str
    category: str
    activities: Mapping[str, int]
    """By their captions; any other is 99, Other, with a name of ours."""


_ACCOUNT = _Class(
    3001,
    "Account Change",
    "Identity & Access Management",
    {"Create": 1, "Enable": 2, "Disable": 5, "Delete": 6, "Attach Policy": 7, "Detach Policy": 8},
)
_AUTHENTICATION = _Class(3002, "Authentication", "Identity & Access Management", {"Logon": 1, "Logoff": 2})
_ENTITY = _Class(
    3004,
    "Entity Management",
    "Identity & Access Management",
    {"Create": 1, "Update": 3, "Delete": 4, "Enroll": 6, "Unenroll": 7},
)
_API = _Class(6003, "API Activity", "Application Activity", {"Create": 1, "Read": 2, "Update": 3, "Delete": 4})


class _Meaning(NamedTuple):
    """What a type of event is: to OCSF a class and its activity, to ECS a category and its types."""

    ocsf: _Class
    activity: str
    category: str
    types: tuple[str, ...]


def _key(activity: str, *types: str) -> _Meaning:
    return _Meaning(_ACCOUNT, activity, "iam", ("user", *types))


def _entity(activity: str, category: str, *types: str) -> _Meaning:
    return _Meaning(_ENTITY, activity, category, types)


_READ = _Meaning(_API, "Read", "api", ("access",))
_OTHER = _Meaning(_API, "Update", "api", ("change",))
_MEANINGS = {
    "key.issued": _key("Create", "creation"),
    "key.changed": _key("Change", "change"),
    "key.suspended": _key("Disable", "change"),
    "key.reinstated": _key("Enable", "change"),
    "key.rotated": _key("Rotate", "change"),
    "key.first-used": _key("First Use", "info"),
    "key.retiring": _key("Retire", "change"),
    "key.delegated": _key("Delegate", "change"),
    "key.adopted": _key("Adopt", "change"),
    "key.expiring": _key("Announce Expiry", "info"),
    "key.rotation-due": _key("Announce Rotation", "info"),
    "key.expired": _key("Delete", "deletion"),
    "key.retired": _key("Delete", "deletion"),
    "key.revoked": _key("Delete", "deletion"),
    "key.compromised": _key("Delete", "deletion"),
    "key.erased": _key("Erase", "change"),
    "workspace.owner-added": _key("Attach Policy", "admin", "change"),
    "workspace.owner-removed": _key("Detach Policy", "admin", "change"),
    "workspace.created": _entity("Create", "configuration", "creation"),
    "workspace.changed": _entity("Update", "configuration", "change"),
    "role.defined": _entity("Create", "iam", "admin", "creation"),
    "role.changed": _entity("Update", "iam", "admin", "change"),
    "role.removed": _entity("Delete", "iam", "admin", "deletion"),
    "integration.created": _entity("Create", "configuration", "creation"),
    "integration.changed": _entity("Update", "configuration", "change"),
    "integration.topic-added": _entity("Update", "configuration", "change"),
    "integration.topic-removed": _entity("Update", "configuration", "change"),
    "topic.described": _entity("Create", "configuration", "creation"),
    "topic.changed": _entity("Update", "configuration", "change"),
    "topic.schema-added": _entity("Update", "configuration", "change"),
    "topic.withdrawn": _entity("Delete", "configuration", "deletion"),
    "partner.invited": _entity("Create", "iam", "group", "creation"),
    "partner.onboarded": _entity("Enroll", "iam", "group", "change"),
    "partner.key-added": _entity("Update", "iam", "group", "change"),
    "partner.consumer-added": _entity("Update", "configuration", "change"),
    "partner.consumer-removed": _entity("Update", "configuration", "change"),
    "partner.link-added": _entity("Update", "iam", "group", "change"),
    "partner.erased": _entity("Update", "iam", "group", "change"),
    "partner.offboarded": _entity("Unenroll", "iam", "group", "deletion"),
    "link.issued": _entity("Create", "iam", "admin", "creation"),
    "link.redeemed": _entity("Delete", "iam", "admin", "deletion"),
    "link.withdrawn": _entity("Delete", "iam", "admin", "deletion"),
    "session.opened": _Meaning(_AUTHENTICATION, "Logon", "authentication", ("start",)),
    "session.closed": _Meaning(_AUTHENTICATION, "Logoff", "authentication", ("end",)),
    "sign-in.issued": _entity("Create", "iam", "admin", "creation"),
    "sign-in.used": _entity("Delete", "iam", "admin", "deletion"),
    "console.opened": _Meaning(_AUTHENTICATION, "Logon", "authentication", ("start",)),
    "console.closed": _Meaning(_AUTHENTICATION, "Logoff", "authentication", ("end",)),
    "access.refused": _Meaning(_AUTHENTICATION, "Logon", "authentication", ("start",)),
    "audit.read": _READ,
    "audit.export-begun": _READ,
    "audit.exported": _READ,
}
_SEVERITIES = {"key.compromised": (4, "High"), "access.refused": (3, "Medium")}
_INFORMATIONAL = (1, "Informational")
_KINDS = {"ws": "workspace", "int": "integration", "prt": "partner", "lnk": "link", "rol": "role", "top": "topic"}


def ocsf(position: int, record: Record, text: str) -> Json:
    """The record at a position as an event of OCSF. `text` is the record as it stands in the log."""
    data, action, meaning = _read(record)
    activity_id = meaning.ocsf.activities.get(meaning.activity, 99)
    severity_id, severity = _SEVERITIES.get(action, _INFORMATIONAL)
    failed = action == "access.refused"
    event: Json = {
        "activity_id": activity_id,
        "activity_name": meaning.activity,
        "category_uid": meaning.ocsf.uid // 1000,
        "category_name": meaning.ocsf.category,
        "class_uid": meaning.ocsf.uid,
        "class_name": meaning.ocsf.name,
        "type_uid": meaning.ocsf.uid * 100 + activity_id,
        "type_name": f"{meaning.ocsf.name}: {meaning.activity if activity_id != 99 else 'Other'}",
        "time": _milliseconds(record.time),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": 2 if failed else 1,
        "status": "Failure" if failed else "Success",
        "message": _message(record, action),
        "metadata": {
            "version": OCSF,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": __version__},
            "uid": record.id,
            "event_code": record.type,
            "correlation_uid": record.correlation_id,
            "tenant_uid": data.get("workspaceId", ""),
            "sequence": position,
            "log_name": "audit",
        },
        "actor": _actor(record),
        "src_endpoint": _endpoint(record),
        "raw_data": text,
        "unmapped": {"stream": record.stream, "version": record.version, "causation_id": record.causation_id},
    }
    if failed:
        event["status_code"] = data.get("code")
    if "since" in data:
        began, ended = (datetime.fromisoformat(data[name]) for name in ("since", "until"))
        event |= {"count": data["count"], "start_time": _milliseconds(began), "end_time": _milliseconds(ended)}
    return event | _particulars(meaning.ocsf, record, data)


def ecs(position: int, record: Record, text: str) -> Json:
    """The record at a position as a document of ECS. `text` is the record as it stands in the log."""
    data, action, meaning = _read(record)
    actor = record.actor
    event: Json = {
        "id": record.id,
        "kind": "event",
        "category": [meaning.category],
        "type": [*meaning.types],
        "action": action,
        "outcome": "failure" if action == "access.refused" else "success",
        "code": record.type,
        "dataset": "keyfold.audit",
        "module": "keyfold",
        "provider": "keyfold",
        "sequence": position,
        "original": text,
    }
    if reason := data.get("reason") or data.get("code"):
        event["reason"] = reason
    if "since" in data:
        event |= {"start": data["since"], "end": data["until"]}
    document: Json = {
        "@timestamp": _rfc3339(record.time),
        "ecs": {"version": ECS},
        "event": event,
        "message": _message(record, action),
        "organization": {"id": data.get("workspaceId", "")},
        "service": {"name": "keyfold", "type": "keyfold", "version": __version__},
        "trace": {"id": record.correlation_id},
        "user": {"id": actor.id, "roles": [actor.kind]},
        "related": {"user": sorted({actor.id, *_users(data)})},
        "keyfold": {"stream": record.stream, "version": record.version, "causation_id": record.causation_id},
    }
    if target := data.get("keyId"):
        document["user"]["target"] = {"id": target}
    if actor.address:
        document["source"] = {"address": actor.address}
        if host(actor.address) is not None:
            document["source"]["ip"] = str(host(actor.address))
            document["related"]["ip"] = [str(host(actor.address))]
    return document


def _read(record: Record) -> tuple[Json, str, _Meaning]:
    action = record.type.rpartition(".")[0] or record.type
    return msgspec.json.decode(record.data), action, _MEANINGS.get(action, _OTHER)


def _particulars(of: _Class, record: Record, data: Json) -> Json:
    """What a class demands beside what all have."""
    if of is _ENTITY:
        kind = _KINDS.get(record.stream.partition("_")[0], "thing")
        entity = {"uid": record.stream, "type": kind} | (
            {"name": data["name"]} if isinstance(data.get("name"), str) else {}
        )
        return {"entity": entity} | ({"comment": data["reason"]} if data.get("reason") else {})
    if of is _API:
        return {"api": {"operation": record.type, "request": {"uid": record.correlation_id}, "version": "v1"}}
    user: Json = {"uid": data.get("keyId") or data.get("partnerId") or record.stream, "type": "Service", "type_id": 4}
    if of is _ACCOUNT:
        return {"user": user | ({"name": data["name"]} if isinstance(data.get("name"), str) else {})}
    road = data.get("road", "portal")
    particulars: Json = {"user": user, "service": {"name": f"keyfold {road}"}, "is_remote": True}
    if "sessionId" in data:
        particulars["session"] = {"uid": data["sessionId"]}
    return particulars


def _actor(record: Record) -> Json:
    actor = record.actor
    match actor.kind:
        case "key":
            return {"user": {"uid": actor.id, "type": "Service", "type_id": 4}}
        case "portal":
            return {"session": {"uid": actor.id}}
        case "operator":
            return {"user": {"name": actor.id, "type": "Admin", "type_id": 2}}
        case "system":
            return {"app_name": "keyfold", "app_uid": actor.id}


def _endpoint(record: Record) -> Json:
    """Where it came from; what came from no network is Keyfold's own."""
    address = record.actor.address
    if address is None:
        return {"svc_name": "keyfold"}
    return {"ip": str(host(address))} if host(address) is not None else {"name": address}


def _users(data: Json) -> set[str]:
    names = ("keyId", "partnerId", "delegateId", "successorId", "parentId")
    return {data[name] for name in names if isinstance(data.get(name), str)}


def _message(record: Record, action: str) -> str:
    return f"{action} of {record.stream} by {record.actor.kind} {record.actor.id}"


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

"""An example of each body that the API takes: shown in the reference, and in the OpenAPI document."""

from typing import Any

import msgspec

from keyfold.app.verdicts import VerifyBody
from keyfold.web.v1.bulk import BulkBody
from keyfold.web.v1.common import WithReason
from keyfold.web.v1.compromise import CompromiseBody
from keyfold.web.v1.console import SignInBody
from keyfold.web.v1.consumer_bodies import ConsumerBody, NackBody, PullBody, SeekBody, TerminateBody, TokensBody
from keyfold.web.v1.explaining import ExplainBody
from keyfold.web.v1.integrations import IntegrationBody, IntegrationPatch
from keyfold.web.v1.key_bodies import DelegateBody, KeyBody, KeyPatch
from keyfold.web.v1.key_life import ReinstateBody, RotateBody
from keyfold.web.v1.onboarding import RedemptionBody, TokenBody
from keyfold.web.v1.partners import FreshLinkBody, InvitationBody
from keyfold.web.v1.portal_events import TestEventBody
from keyfold.web.v1.portal_letters import LetterBody
from keyfold.web.v1.promotion import PromoteBody
from keyfold.web.v1.roles import RoleBody, RolePatch
from keyfold.web.v1.topics import CheckBody, SchemaBody, TopicBody, TopicPatch
from keyfold.web.v1.workspace import WorkspacePatch

_ORDER: dict[str, Any] = {
    "type": "object",
    "required": ["orderId"],
    "properties": {"orderId": {"type": "string"}, "total": {"type": "number", "minimum": 0}},
}

EXAMPLES: dict[type[msgspec.Struct], dict[str, Any]] = {
    InvitationBody: {
        "appName": "Order sync",
        "appDescription": "Keeps our warehouse informed of new orders.",
        "metadata": {"customerId": "c_1"},
    },
    TokenBody: {"token": "kfl_…"},
    RedemptionBody: {"token": "kfl_…"},
    FreshLinkBody: {},
    SignInBody: {},
    TestEventBody: {
        "environment": "dev",
        "keyId": "key_01h455vb4pex5vsknk084sn02q",
        "topic": "app/order/created",
        "data": {"orderId": "o_1"},
    },
    LetterBody: {"keyId": "key_01h455vb4pex5vsknk084sn02q", "consumer": "own", "sequence": 7},
    IntegrationBody: {
        "name": "Orders",
        "description": "Orders as they are created and fulfilled.",
        "environments": {
            "dev": {},
            "prod": {
                "permitted": ["send", "receive"],
                "options": {"send": {"topics": ["app/order/*"]}, "receive": {"topics": ["app/fulfillment/**"]}},
            },
        },
        "linkLifetimeSeconds": 3600,
    },
    IntegrationPatch: {"environments": {"prod": {"policy": {"rotationSeconds": 7776000}}}},
    TopicBody: {
        "name": "app/order/created",
        "description": "An order came in.",
        "direction": "send",
        "schema": _ORDER,
        "examples": [{"orderId": "o_1", "total": 12.5}],
    },
    TopicPatch: {"deprecated": True},
    SchemaBody: {"schema": _ORDER | {"properties": _ORDER["properties"] | {"currency": {"type": "string"}}}},
    CheckBody: {"schema": _ORDER, "examples": [{"orderId": "o_1", "total": "12.5"}]},
    DelegateBody: {
        "name": "Warehouse contractor",
        "permitted": ["receive"],
        "options": {"receive": {"topics": ["app/fulfillment/shipped"]}},
        "sourceNetworks": ["192.0.2.0/24"],
        "expiresAt": "2027-06-30T00:00:00Z",
    },
    KeyPatch: {"purpose": "Nightly export", "tags": ["export"], "options": {"send": {"topics": ["app/order/created"]}}},
    RotateBody: {"overlapSeconds": 86400, "overlapStarts": "first-use"},
    ReinstateBody: {},
    BulkBody: {
        "action": "revoke",
        "filter": {"partnerId": "prt_…", "environment": "dev", "tag": "contractor"},
        "reason": "The contract has ended.",
        "dryRun": True,
    },
    PullBody: {"batch": 100, "waitSeconds": 20},
    TokensBody: {"tokens": ["1.42.7.1772366400123456789.0"]},
    NackBody: {"tokens": ["1.42.7.1772366400123456789.0"], "delaySeconds": 60},
    TerminateBody: {"tokens": ["1.42.7.1772366400123456789.0"], "reason": "There is no such customer."},
    ConsumerBody: {"name": "billing", "topics": ["app/order/*"], "start": "beginning"},
    SeekBody: {"from": "2026-03-01T12:00:00Z"},
    RoleBody: {"name": "Rotation robot", "permissions": ["keys:read", "keys:rotate"]},
    RolePatch: {"permissions": ["keys:read", "keys:rotate", "keys:suspend"]},
    WorkspacePatch: {"rate": {"requests": 6000, "seconds": 60}},
    KeyBody: {"kind": "account", "name": "Nightly audit", "role": "auditor"},
    VerifyBody: {"key": "kf_prod_…", "action": "send", "topic": "app/order/created"},
    ExplainBody: {
        "keyId": "key_01jz8n3v5tf9qa4x2m7c6b0d1e",
        "action": "send",
        "topic": "app/order/created",
        "at": "2026-03-01T12:00:00Z",
    },
    CompromiseBody: {"reason": "It was found in a public repository.", "replace": True},
    PromoteBody: {"toKeyId": "key_01jz8n3v5tf9qa4x2m7c6b0d1e", "dryRun": True},
    WithReason: {"reason": "The laptop that held it was lost."},
}

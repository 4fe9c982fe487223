"""An example of each body that the API takes: shown in the reference, and in the OpenAPI document."""

from typing import Any

from keyfold.web.v1.common import Body, WithReason
from keyfold.web.v1.integrations import IntegrationBody
from keyfold.web.v1.keys import KeyBody, VerifyBody
from keyfold.web.v1.onboarding import TokenBody
from keyfold.web.v1.partners import InvitationBody

EXAMPLES: dict[type[Body], dict[str, Any]] = {
    InvitationBody: {
        "appName": "Order sync",
        "appDescription": "Keeps our warehouse informed of new orders.",
        "metadata": {"customerId": "c_1"},
    },
    TokenBody: {"token": "kfl_…"},
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
    KeyBody: {"kind": "account", "name": "Nightly audit", "role": "auditor"},
    VerifyBody: {"key": "kf_prod_…", "action": "send", "topic": "app/order/created"},
    WithReason: {"reason": "The laptop that held it was lost."},
}

"""Version 1 of the API: one controller for each kind of thing."""

from litestar import Router

from keyfold.web.auth import guard
from keyfold.web.v1.audit import AuditController
from keyfold.web.v1.integrations import IntegrationController
from keyfold.web.v1.keys import KeyController
from keyfold.web.v1.links import LinkController
from keyfold.web.v1.onboarding import OnboardingController
from keyfold.web.v1.partners import ExternalController, PartnerController
from keyfold.web.v1.portal import PortalController

router = Router(
    path="/api/v1",
    before_request=guard,
    route_handlers=[
        ExternalController,
        OnboardingController,
        IntegrationController,
        PartnerController,
        LinkController,
        KeyController,
        AuditController,
        PortalController,
    ],
)

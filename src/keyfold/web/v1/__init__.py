"""Version 1 of the API: one controller for each kind of thing."""

from keyfold.web.auth import guard
from keyfold.web.routing import Routes
from keyfold.web.v1.audit import AuditController, AuditEventController
from keyfold.web.v1.audit_export import AuditExportController
from keyfold.web.v1.audit_history import HistoryController
from keyfold.web.v1.bulk import BulkController
from keyfold.web.v1.compromise import CompromiseController
from keyfold.web.v1.console import ConsoleController
from keyfold.web.v1.consumers import ConsumerController, DeadLetterController
from keyfold.web.v1.event_usage import EventUsageController
from keyfold.web.v1.events import EventController
from keyfold.web.v1.explaining import ExplainingController
from keyfold.web.v1.following import FollowingController
from keyfold.web.v1.integrations import IntegrationController
from keyfold.web.v1.key_life import KeyLifeController
from keyfold.web.v1.keys import KeyController
from keyfold.web.v1.lifecycle import LifecycleController
from keyfold.web.v1.links import LinkController
from keyfold.web.v1.onboarding import OnboardingController
from keyfold.web.v1.partners import ExternalController, PartnerController
from keyfold.web.v1.portal import PortalController
from keyfold.web.v1.portal_events import PortalEventController
from keyfold.web.v1.portal_letters import PortalLetterController
from keyfold.web.v1.portal_usage import PortalUsageController
from keyfold.web.v1.promotion import PromotionController
from keyfold.web.v1.roles import RoleController
from keyfold.web.v1.topics import KeyTopicController, TopicController
from keyfold.web.v1.verification import VerificationController
from keyfold.web.v1.workspace import WorkspaceController

router = Routes(
    path="/api/v1",
    before_request=guard,
    route_handlers=[
        ExternalController,
        OnboardingController,
        IntegrationController,
        TopicController,
        KeyTopicController,
        PartnerController,
        LinkController,
        KeyController,
        KeyLifeController,
        BulkController,
        CompromiseController,
        PromotionController,
        VerificationController,
        ExplainingController,
        EventController,
        FollowingController,
        ConsumerController,
        DeadLetterController,
        RoleController,
        WorkspaceController,
        AuditController,
        AuditEventController,
        AuditExportController,
        HistoryController,
        EventUsageController,
        LifecycleController,
        ConsoleController,
        PortalController,
        PortalEventController,
        PortalUsageController,
        PortalLetterController,
    ],
)

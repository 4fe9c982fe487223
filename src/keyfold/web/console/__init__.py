"""The console, for operators and auditors: pages made on the server, for whoever is signed in with an account key."""

from keyfold.web.console.audit import event, trail
from keyfold.web.console.audit_export import export, export_page
from keyfold.web.console.changes import changes
from keyfold.web.console.health import health
from keyfold.web.console.holders import holders
from keyfold.web.console.integrations import integration, integrations
from keyfold.web.console.key_act import act_on, act_page
from keyfold.web.console.key_page import key_page
from keyfold.web.console.key_rule import narrow, narrow_page, narrow_preview
from keyfold.web.console.keys import keys
from keyfold.web.console.keys_bulk import bulk_act, bulk_page
from keyfold.web.console.overview import overview
from keyfold.web.console.pages import nothing, refuse
from keyfold.web.console.partner_page import fresh_link, offboard, partner, withdraw_link
from keyfold.web.console.partners import invite, invite_page, partners
from keyfold.web.console.proof import consistency, proof_page, record_proof
from keyfold.web.console.rule_editor import (
    change_rule,
    create_integration,
    edit_rule,
    new_integration,
    preview,
    preview_new,
)
from keyfold.web.console.session import guard
from keyfold.web.console.sign_in import sign_in, sign_in_page, sign_out
from keyfold.web.console.topic_schema import add_schema, check_schema, schema_page
from keyfold.web.console.topics import change_topic, describe_topic, edit_topic, new_topic, topic, withdraw_topic
from keyfold.web.routing import Routes

router = Routes(
    path="/console",
    before_request=guard,
    exception_handlers={Exception: refuse},
    include_in_schema=False,
    route_handlers=[
        *(overview, sign_in_page, sign_in, sign_out, nothing, health),
        *(integrations, integration, new_integration, create_integration, edit_rule, change_rule),
        *(preview, preview_new, invite_page, invite),
        *(topic, new_topic, describe_topic, edit_topic, change_topic, withdraw_topic),
        *(schema_page, add_schema, check_schema),
        *(partners, partner, fresh_link, withdraw_link, offboard),
        *(narrow_page, narrow, narrow_preview),
        *(keys, key_page, act_page, act_on, bulk_page, bulk_act),
        *(trail, event, export_page, export, holders, changes, proof_page, record_proof, consistency),
    ],
)

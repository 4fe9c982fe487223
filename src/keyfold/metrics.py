"""Every metric of Keyfold, by name. Labels are few and closed: never an id, a key or an address."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "keyfold_http_request_seconds",
    "Time to answer HTTP requests.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
VERIFICATIONS = Counter("keyfold_verifications", "Verifications of access keys by the code of the answer.", ["code"])
DROPPED_USAGES = Gauge(
    "keyfold_dropped_usages", "Uses of keys that this process couldn't write down and had no room to keep."
)
DROPPED_EVENT_USAGES = Gauge(
    "keyfold_dropped_event_usages", "Uses for events that this process couldn't hand over and had no room to keep."
)
APPENDED = Counter("keyfold_appended_events", "Events appended to the log by this process.")
APPEND_BATCH = Histogram(
    "keyfold_append_batch_commands",
    "Commands in one call of the append function.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
INGRESS = Counter(
    "keyfold_ingress_events",
    "App events that were sent: `published`, `duplicate`, or the code of the refusal.",
    ["code"],
)
RELAYED = Counter("keyfold_relayed_events", "Events published to JetStream by this process.")
PROJECTED = Counter("keyfold_projected_events", "Events applied by this process.", ["projection"])
PROJECTION_LAG = Gauge("keyfold_projection_lag_events", "Positions that the cursor is behind.", ["projection"])
CONNECTS = Counter("keyfold_nats_connects", "Connects with an access key by the code of the answer.", ["code"])
REAPED = Counter("keyfold_reaped_keys", "Keys whose NATS connections were ended because the key had ended.")
FORGED = Counter("keyfold_forged_events", "Messages to the ingress from nobody whom the NATS server attests.")
TREE_SIZE = Gauge("keyfold_tree_size", "Records that the log's tree has, where this process grows it.")
CHECKPOINT_SIZE = Gauge(
    "keyfold_checkpoint_size", "Records that the newest checkpoint signs, where this process signs."
)
WITNESS_SIZE = Gauge(
    "keyfold_witness_size", "Records that the newest checkpoint has that a witness cosigned here.", ["witness"]
)
LOOP_HEALTHY = Gauge("keyfold_loop_healthy", "1 while the loop does its work or stands by, 0 when it can't.", ["loop"])

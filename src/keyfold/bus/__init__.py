"""NATS: the connection, the subjects, and the stream of lifecycle events."""

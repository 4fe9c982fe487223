"""The server's side of the audit: signing and growing the log's tree. What verifies it is `keyfold_client.audit`."""

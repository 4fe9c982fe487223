SELECT key_id, outcome, action, count, last_at FROM keyfold.key_usage WHERE key_id = ANY ($1::text[])

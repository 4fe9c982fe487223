SELECT key_id, address FROM keyfold.key_addresses WHERE key_id = ANY ($1::text[])

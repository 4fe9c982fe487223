SELECT id, pepper, digest FROM keyfold.key_secrets WHERE id = ANY ($1::text[])

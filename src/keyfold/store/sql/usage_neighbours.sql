SELECT other.key_id, other.address, other.last_at
FROM keyfold.key_addresses AS own
CROSS JOIN LATERAL (
    SELECT key_id, address, last_at FROM keyfold.key_addresses
    WHERE address = own.address AND key_id <> own.key_id
    ORDER BY last_at DESC LIMIT 1000
) AS other
WHERE own.key_id = $1 AND own.last_at >= $2
ORDER BY other.last_at DESC, other.key_id, other.address LIMIT 1000

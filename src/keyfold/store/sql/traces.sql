WITH addresses AS (
    SELECT address FROM keyfold.key_addresses WHERE key_id = $2 AND last_at >= $3
    UNION
    SELECT address FROM projections.audit WHERE actor_id = $2 AND time >= $3 AND address <> 'unknown'
)
SELECT key_id, 'issued-by' AS why, address, time FROM projections.audit
WHERE workspace_id = $1 AND actor_id = $2 AND type = 'key.issued.v1' AND time >= $3
UNION ALL
SELECT key_id, 'issued-from', address, time FROM projections.audit JOIN addresses USING (address)
WHERE workspace_id = $1 AND type = 'key.issued.v1' AND time >= $3 AND actor_id <> $2 AND key_id <> $2
ORDER BY time DESC, key_id LIMIT 1000

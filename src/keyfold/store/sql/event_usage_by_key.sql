SELECT key_id, outcome, sum(count)::bigint AS count, sum(bytes)::bigint AS bytes
FROM keyfold.event_usage
WHERE key_id = ANY ($1::text[]) AND minute >= $2 AND minute < $3
GROUP BY 1, 2
ORDER BY 1, 2

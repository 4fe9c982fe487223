SELECT page.issued_at AS at, page.id,
       greatest(page.issued_at, used.last_at) + make_interval(secs => page.idle_seconds) <= $1 AS is_unused
FROM (
    SELECT issued_at, id, idle_seconds FROM projections.keys
    WHERE idle_seconds IS NOT NULL AND status = 'active' AND (issued_at, id) > ($2, $3)
    ORDER BY issued_at, id LIMIT $4
) AS page
CROSS JOIN LATERAL (
    SELECT max(last_at) AS last_at FROM keyfold.key_usage WHERE key_id = page.id AND outcome = 'valid'
) AS used
ORDER BY page.issued_at, page.id

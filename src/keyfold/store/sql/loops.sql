SELECT DISTINCT ON (loop) loop, status IN ('running', 'standby', 'degraded') AS healthy,
       CASE WHEN status NOT IN ('running', 'standby') THEN concat_ws(': ', status, nullif(detail, '')) ELSE '' END AS detail
FROM projections.loops
WHERE beat_at > now() - interval '10 seconds'
ORDER BY loop, array_position(ARRAY['running', 'degraded', 'halted', 'waiting', 'starting', 'standby', 'dead'], status)

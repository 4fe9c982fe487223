SELECT DISTINCT ON (loop) loop, status IN ('running', 'standby') AS healthy, concat_ws(': ', status, nullif(detail, '')) AS detail
FROM projections.loops
WHERE beat_at > now() - interval '10 seconds'
ORDER BY loop, array_position(ARRAY['running', 'halted', 'waiting', 'starting', 'standby', 'dead'], status)

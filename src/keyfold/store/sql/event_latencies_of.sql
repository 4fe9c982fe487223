SELECT outcome, n::integer AS n, sum(bucket)::bigint AS count
FROM keyfold.event_usage CROSS JOIN unnest(buckets) WITH ORDINALITY AS u (bucket, n)
WHERE key_id = ANY ($1::text[]) AND minute >= $2 AND minute < $3 AND buckets <> '{}'
GROUP BY 1, 2
ORDER BY 1, 2

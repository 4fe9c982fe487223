-- ordered inside, so that the planner goes to the index for each of them, however little it knows of their number
SELECT wanted.stream, prefix.version, prefix.position, prefix.record
FROM unnest($1::text[], $2::integer[]) AS wanted (stream, until)
CROSS JOIN LATERAL (
    SELECT version, position, record FROM keyfold.log
    WHERE log.stream = wanted.stream AND log.version <= wanted.until
    ORDER BY version
) AS prefix
ORDER BY wanted.stream, prefix.version

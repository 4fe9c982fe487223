SELECT wanted.id, latest.name
FROM unnest($1::text[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT name FROM versions WHERE versions.id = wanted.id ORDER BY position DESC LIMIT 1
) AS latest
WHERE latest.name IS NOT NULL

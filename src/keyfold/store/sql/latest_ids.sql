SELECT wanted.workspace_id, wanted.aggregate, latest.latest_id
FROM unnest($1::text[], $2::text[]) AS wanted (workspace_id, aggregate)
CROSS JOIN LATERAL (
    SELECT latest_id FROM things
    WHERE things.workspace_id = wanted.workspace_id AND things.aggregate = wanted.aggregate
    ORDER BY position DESC LIMIT 1
) AS latest

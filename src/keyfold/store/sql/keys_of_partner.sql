SELECT id FROM projections.keys
WHERE workspace_id = $1 AND partner_id = $2 AND ($3::text[] IS NULL OR environment = ANY ($3))

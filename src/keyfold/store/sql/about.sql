-- what happened to these, and what they did
SELECT position, log.record FROM keyfold.log JOIN (
    (SELECT position FROM projections.audit
     WHERE partner_id = ANY ($1::text[]) AND position > $2 ORDER BY position LIMIT $3)
    UNION
    (SELECT position FROM projections.audit
     WHERE key_id = ANY ($1::text[]) AND position > $2 ORDER BY position LIMIT $3)
    UNION
    (SELECT position FROM projections.audit
     WHERE actor_id = ANY ($1::text[]) AND position > $2 ORDER BY position LIMIT $3)
    ORDER BY position LIMIT $3
) AS found USING (position)
ORDER BY position

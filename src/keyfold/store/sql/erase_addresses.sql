-- a portal session acts for nobody but its partner
UPDATE audit SET address = NULL, source = NULL
WHERE address IS NOT NULL
  AND (actor_id = ANY ($1::text[]) OR (partner_id = ANY ($1::text[]) AND actor_kind = 'portal'))

SELECT keys.partner_id, keys.environment
FROM projections.keys
WHERE keys.partner_id = ANY ($1::text[]) AND keys.environment IS NOT NULL
  AND EXISTS (SELECT FROM keyfold.key_usage WHERE key_id = keys.id AND outcome = 'valid')
GROUP BY keys.partner_id, keys.environment

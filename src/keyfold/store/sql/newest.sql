-- of a change only the one of the expiry says anything about time
SELECT record->>'id' FROM keyfold.log
WHERE stream = $1 AND record->>'type' = ANY ($2::text[])
    AND (record->>'type' <> 'key.changed.v1' OR record->'data'->'after'->'expiresAt' IS NOT NULL)
ORDER BY version DESC LIMIT 1

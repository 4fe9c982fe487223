SELECT id, fingerprint, answer, position FROM keyfold.replays
WHERE id = $1 AND NOT EXISTS (SELECT FROM keyfold.erased WHERE erased.id = ANY (replays.subjects))

-- What a crash takes of it, cursor and rows together, is projected again: the commit needn't wait for the disk.
UPDATE projections.cursors SET position = $3 WHERE projection = $1 AND position = $2
RETURNING (SELECT record FROM keyfold.log WHERE log.position = $3), set_config('synchronous_commit', 'off', true)

UPDATE projections.cursors SET position = $3 WHERE projection = $1 AND position = $2 RETURNING position

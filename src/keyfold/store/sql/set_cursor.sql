UPDATE projections.cursors SET position = $2 WHERE projection = $1

SELECT position, (SELECT coalesce(max(position), 0) FROM keyfold.log) AS head FROM projections.cursors
WHERE projection = $1

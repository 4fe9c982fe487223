SELECT projection, position, (SELECT coalesce(max(position), 0) FROM keyfold.log) - position AS lag
FROM projections.cursors ORDER BY projection

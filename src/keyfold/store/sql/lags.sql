SELECT projection, (SELECT coalesce(max(position), 0) FROM keyfold.log) - position AS lag FROM projections.cursors

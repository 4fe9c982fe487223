SELECT position, stream FROM keyfold.log WHERE position > $1 ORDER BY position LIMIT $2

SELECT record FROM keyfold.log WHERE stream = $1 AND position <= $2 ORDER BY version

SELECT record FROM keyfold.log WHERE stream = $1 ORDER BY version

SELECT position, record FROM keyfold.log WHERE stream = $1 AND version = 1

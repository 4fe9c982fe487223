SELECT id, fingerprint, answer, position FROM keyfold.replays WHERE id = $1

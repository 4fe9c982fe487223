SELECT EXISTS (SELECT FROM keyfold.replays WHERE id = ANY ($1::bytea[]))

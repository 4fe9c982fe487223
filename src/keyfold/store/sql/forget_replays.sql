DELETE FROM keyfold.replays WHERE created_at < now() - interval '24 hours'

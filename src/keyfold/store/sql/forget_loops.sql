DELETE FROM projections.loops WHERE process = $1 OR beat_at < now() - interval '1 hour'

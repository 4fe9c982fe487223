SELECT position, stream, version, record, workspace_id, number FROM keyfold.log WHERE position >= $1 ORDER BY position LIMIT $2

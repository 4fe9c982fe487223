SELECT coalesce(max(size), 0) FROM keyfold.cosignatures WHERE witness = $1

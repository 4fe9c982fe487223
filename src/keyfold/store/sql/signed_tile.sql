SELECT (SELECT max(size) FROM keyfold.checkpoints) AS size,
       (SELECT substr(hashes, 1, $3 * 32) FROM keyfold.tiles WHERE level = $1 AND index = $2) AS hashes

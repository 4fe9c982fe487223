SELECT size, root, note, extract(epoch FROM clock_timestamp() - created_at)::float8 AS age,
       ARRAY(SELECT line FROM keyfold.cosignatures AS c WHERE c.size = checkpoints.size ORDER BY witness) AS cosignatures
FROM keyfold.checkpoints ORDER BY size DESC LIMIT 2

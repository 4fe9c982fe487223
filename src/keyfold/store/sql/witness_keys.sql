SELECT DISTINCT witness FROM keyfold.cosignatures
WHERE size IN (SELECT size FROM keyfold.checkpoints ORDER BY size DESC LIMIT 2) ORDER BY witness

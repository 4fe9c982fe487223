SELECT log.stream, log.version, log.record
FROM unnest($1::text[], $2::integer[]) AS wanted (stream, known)
JOIN keyfold.log ON log.stream = wanted.stream AND log.version > wanted.known
ORDER BY log.stream, log.version

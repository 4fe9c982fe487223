-- what of an event is personal lies in its first box
SELECT log.stream, log.version, log.record, data_keys.subject, data_keys.pepper, data_keys.wrapped
FROM unnest($1::text[], $2::integer[]) AS wanted (stream, known)
JOIN keyfold.log ON log.stream = wanted.stream AND log.version > wanted.known
LEFT JOIN keyfold.data_keys ON data_keys.subject = log.record #>> '{sealed,0,under}'
ORDER BY log.stream, log.version

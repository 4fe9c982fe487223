SELECT level, index, substr(hashes, 1, width * 32) AS hashes
FROM unnest($1::smallint[], $2::bigint[], $3::integer[]) AS wanted (level, index, width) JOIN keyfold.tiles USING (level, index)

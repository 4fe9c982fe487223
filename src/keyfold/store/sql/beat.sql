INSERT INTO projections.loops (process, loop, status, detail)
SELECT $1, loop, status, detail FROM unnest($2::text[], $3::text[], $4::text[]) AS l (loop, status, detail)
ON CONFLICT (process, loop) DO UPDATE SET status = excluded.status, detail = excluded.detail, beat_at = now()

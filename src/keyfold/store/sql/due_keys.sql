SELECT due_at AS at, id FROM projections.keys WHERE due_at <= $1 AND (due_at, id) > ($2, $3) ORDER BY due_at, id LIMIT $4

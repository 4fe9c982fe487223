-- OFFSET keeps the planner from looking for the greatest position backwards from the head
SELECT coalesce(max(position), 0) FROM (
    SELECT position FROM projections.versions
    WHERE workspace_id = $1 AND time <= $2 AND time > (
        SELECT time FROM projections.versions WHERE workspace_id = $1 AND time <= $2 ORDER BY time DESC LIMIT 1
    ) - $3::interval
    OFFSET 0
) AS recent

WITH RECURSIVE causes AS (
    SELECT position, id, causation_id, 0 AS depth FROM projections.audit WHERE workspace_id = $1 AND id = $2
    UNION ALL
    SELECT cause.position, cause.id, cause.causation_id, depth + 1
    FROM causes JOIN projections.audit AS cause ON cause.id = causes.causation_id AND cause.workspace_id = $1
    WHERE depth < $3
), effects AS (
    SELECT position, id, 0 AS depth FROM causes WHERE depth = 0
    UNION ALL
    SELECT effect.position, effect.id, depth + 1
    FROM effects JOIN projections.audit AS effect ON effect.causation_id = effects.id AND effect.workspace_id = $1
    WHERE depth < $3
)
SELECT position, depth, CASE depth WHEN 0 THEN 'this' ELSE 'causes' END AS side FROM causes
UNION ALL
(SELECT position, depth, 'effects' FROM effects WHERE depth > 0 LIMIT $4)
ORDER BY depth, position

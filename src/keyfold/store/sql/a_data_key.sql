SELECT subject, pepper, wrapped FROM keyfold.data_keys ORDER BY subject LIMIT 1

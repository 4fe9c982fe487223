UPDATE versions SET name = '' WHERE id = ANY ($1::text[]) AND name <> ''

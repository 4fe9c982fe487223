SELECT subject, pepper, wrapped FROM keyfold.data_keys WHERE subject = ANY ($1::text[])

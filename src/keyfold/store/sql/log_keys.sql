SELECT vkey FROM keyfold.log_keys ORDER BY added_at DESC, vkey

SELECT keyfold.add_log_key($1)

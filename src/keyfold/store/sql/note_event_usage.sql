SELECT keyfold.note_event_usage($1, $2::json)

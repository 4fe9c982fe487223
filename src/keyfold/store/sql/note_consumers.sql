SELECT keyfold.note_consumers($1, $2, $3, $4, $5, $6, $7)

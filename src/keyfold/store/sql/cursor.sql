SELECT position FROM projections.cursors WHERE projection = $1

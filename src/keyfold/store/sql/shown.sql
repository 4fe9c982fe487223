SELECT min(position) FROM projections.cursors WHERE projection IN ('audit', 'current')

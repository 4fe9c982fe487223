"""What goes on by itself: the relay, the projections, and what keeps house. Every loop has one shape."""

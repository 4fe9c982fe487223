"""Commands carried out: load, decide, append. What they need of the world stands in `ports`."""

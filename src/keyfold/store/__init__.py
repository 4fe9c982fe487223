"""Postgres: the log, what lives beside it, and the projections. One SQL statement a file, named as its method."""

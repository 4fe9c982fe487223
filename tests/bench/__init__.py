"""Benchmarks: each figure of Keyfold beside a limit or a peer that runs in the same minutes on the same servers."""

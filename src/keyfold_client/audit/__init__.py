"""Verification of Keyfold's log by people who don't trust Keyfold: read all of it, it takes ten minutes.

It needs nothing but Python and, for Ed25519, `cryptography` (`live` alone speaks HTTP, with httpx), and nothing from
outside of this folder. Start with `merkle`, on which everything rests.
"""

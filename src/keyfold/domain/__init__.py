"""The domain: commands, events and state as frozen structs, and the pure functions between them.

Nothing in here reads a clock, a random source or a network: time, ids and entropy come in as arguments.
"""

"""What needs nothing but the code: the deciders, ids, tokens, permissions, records, the vault, settings, problems."""

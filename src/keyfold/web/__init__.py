"""HTTP: controllers that translate and delegate, errors as problem+json, health, metrics, pages."""

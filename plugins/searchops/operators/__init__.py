"""Tasks: each translates its arguments into one call to `searchops.core` or to a hook."""

"""Measurements beside what one would use instead; each keeps its samples in ``build/bench/<name>.json``."""

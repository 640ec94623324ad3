"""The demo: what the project promises, shown on real dictionary data and a real search engine."""

"""The local cloud: real engines and simulators, for the demo, the tests and the benchmarks only."""

"""Stand-ins for the services that only Amazon (or Slack) runs; used by the demo, the tests and the benchmarks alone."""

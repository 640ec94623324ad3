"""Groups of tasks that a DAG can embed."""

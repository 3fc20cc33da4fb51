"""The workloads and timers behind the benchmark commands."""

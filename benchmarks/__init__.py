"""Measurements: `make bench`. The records are in reports/benchmarks/."""

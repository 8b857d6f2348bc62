"""Measurements; run them from the repository, `python -m benchmarks.NAME`. See docs/BENCHMARKS.md."""

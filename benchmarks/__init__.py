"""One benchmark per claim: `python -m benchmarks.NAME`; frozen results beside it."""

"""Numbers over many samples: measured and kept (`over_samples`, `store`), told apart by what decides them
(`fingerprints`, `sources`, `provenance`), averaged (`bootstrap`) and judged (`rules`, `verdicts`); and what the
benchmarks measured (`benchmarked`).

The room knows instruments only as functions. It imports `avsink.sample` and `avsink.resources`.
"""

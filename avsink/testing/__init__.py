"""Models made in code, for tests, benchmarks and training: random decoders, one with weights set by hand, `tiny-omni`.

This room imports `avsink.engine`, `avsink.models`, `avsink.layout`, `avsink.compat` and `avsink.toyworld`. Nothing that
analyses a model imports it.
"""

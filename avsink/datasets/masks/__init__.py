"""Object masks and sounding spans of real clips: read from files, made by SAM 2, and mapped onto token positions.

This room imports `avsink.media`, `avsink.compat` and the rest of `avsink.datasets`.
"""

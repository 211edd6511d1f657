"""The toy world: sprites and sounds in short real clips, the questions asked about them, and their exact ground truth.

This room imports `avsink.sample` and `avsink.resources`, and nothing of models or datasets.
"""

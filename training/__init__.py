"""How the teaching models were made and evaluated. Nobody who analyses a model needs this.

This room may import anything of `avsink`; nothing of `avsink` imports it.
"""

"""The papers' formulas written out again, from their definitions: plain, slow, in float64, sharing no code with avsink.

Tests named `test_formulas*` hold the package against them.
"""

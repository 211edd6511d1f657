"""The two papers that this project reproduces, one room each: what they measure, claim and report.

`flow` is *From Senses to Decisions* (arXiv 2606.10147), `hubs` is *Probing Cross-modal Information Hubs* (arXiv
2605.10815). `tables` loads the numbers that they print.

This room may import every room below it (instruments, results, datasets and what these import). The two papers do not
import each other, and no other room imports this one.
"""

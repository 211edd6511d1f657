"""The instruments: what is measured on one sample of one model, one module each, with tidy rows as the result.

1. Where information flows (Flow): `pathways` names what can be blocked, `knockout` blocks it layer by layer,
   `attention_shares` measures attention itself, `discarding` removes tokens that are no longer needed;
2. where it is stored (Hubs): `dominance` says which modality decides, `sinks` and `sink_calibration` find the sinks,
   `object_tokens` the tokens of an object, `tracing` restores sets of tokens;
3. for looking at single runs: `clip_explorer` and `replay_cost`.

An instrument may import `avsink.engine`, `avsink.datasets.masks`, `layout`, `media` and `sample`, and other
instruments. It knows nothing of results, papers and charts: averages over samples and verdicts are made of its rows
elsewhere.
"""

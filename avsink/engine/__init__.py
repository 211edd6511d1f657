"""The engine: what is done to a run of the model, computed exactly and cheaply.

Files, in the order in which to read them:

1. `interventions`: what is done to a run, as data: `Block`, `Restore`, `Reweight`, `Discard`;
2. `attention`: the one attention function of the text decoder, and how another one takes its place for a while;
3. `record`: how a run goes by, and `listeners` to it; `states`: what it leaves at every layer; `foreign`: what must not
   be on a model meanwhile; `observers`: statistics that are reduced on the way;
4. `run`: a clean run, and its replays under plans;
5. how a replay works: `schedule` (which rows are computed), `replay` (layer by layer), `key_partition` and `patches`
   (which query reads which keys), `partial_softmax` and `replay_attention` (their attention, merged from parts);
6. `live`: interventions on the model's own layers while it runs by itself;
7. `self_check`: whether interventions do what they say on a given model; `self_check_case`: the passes for it.

The engine may import `avsink.models` and what that may import (`layout`, `sample`, `media`, `compat`). It knows nothing
of instruments, results, papers, datasets or charts.
"""

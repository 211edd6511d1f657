"""Every chart of the book, one function each.

    from avsink import charts

    charts.knockout_curves(summary, caption="…", description="…")      # last line of a cell: the figure appears

Each function takes a tidy DataFrame and returns a `figure.Figure`: the chart with its caption, its description for
screen readers, and its data as a CSV link. A column that a function needs and does not find is named in the error. For
a table without rows the figure says that nothing was measured. `about` says once which model all later figures show.
`table` shows a data frame, `verdict` a verdict. Whatever is shown is escaped.

=================  ==================================================================================================
function           columns (optional ones in parentheses)
=================  ==================================================================================================
layer_curves       a column of names, layer, mean, low, high, n, (category)
knockout_curves    pathway, layer, mean, low, high, n, (category)
dot_plot           label, group, value, low, high, n; low and high may be missing values, for a reported number
training_curves    step, measure, value
timeline           track, label, modality ("video" or "audio"), start, end
work_map           pathway, centre, layer, start, stop, tokens; and the prompt's stripes: kind, start, stop
ratios             label, group, n, ratio, limit
share_curves       group, layer, mean, low, high, n
flow_map           pathway, layer, mean, low, high, n, category
attention_maps     layer, query, key, query_stop, key_stop, weight, query_group, key_group
token_norms        layer, position, group, l2, sink, at
dimension_sizes    token, position, dimension, magnitude
dominance_dots     category, dominance, mean, low, high, n
dominance_map      sample, fog, noise, dominance
phi_map            layer, position, group, phi, sink, place
spread             a column of numbers, one row a token
sink_drift         modality, layer, other, mean, low, high, n
explorer           of `avsink.instruments.clip_explorer.explore`
leanings           modality, place, score, kind, sample, position
=================  ==================================================================================================

What all charts keep to:

1. Colour belongs to the *kind of token* that a row is about, the same on every page: video blue, audio orange, both
   together green, question purple. Dashes and point shapes repeat what colours say, so none carries anything alone.
2. Every mean is drawn with its interval, and its tooltip tells `n`.
3. A chart is as wide as its column of text and its facets wrap; in a narrow window they stand below each other.
"""

from avsink.charts.clip_explorer import explorer
from avsink.charts.conclusion import verdict
from avsink.charts.curves import knockout_curves, layer_curves, share_curves, training_curves
from avsink.charts.dots import dot_plot, ratios
from avsink.charts.figure import about, clip, picture
from avsink.charts.maps import attention_maps, flow_map
from avsink.charts.sinks import dominance_dots, dominance_map, leanings, phi_map, sink_drift, spread
from avsink.charts.spans import timeline, work_map
from avsink.charts.tables import table
from avsink.charts.tokens import dimension_sizes, token_norms

__all__ = [
    "about",
    "attention_maps",
    "clip",
    "dimension_sizes",
    "dominance_dots",
    "dominance_map",
    "dot_plot",
    "explorer",
    "flow_map",
    "knockout_curves",
    "layer_curves",
    "leanings",
    "phi_map",
    "picture",
    "ratios",
    "share_curves",
    "sink_drift",
    "spread",
    "table",
    "timeline",
    "token_norms",
    "training_curves",
    "verdict",
    "work_map",
]

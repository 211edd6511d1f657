"""Every chart of the book, one function each.

    from avsink import charts

    charts.knockout_curves(summary, caption="…", description="…")      # last line of a cell: the figure appears

Each function takes a tidy DataFrame and returns an `avsink.figure.Figure`: the chart with its caption, its description
for screen readers, and its data as a CSV link. Columns that a function needs and does not find are named in the error.

=================  ==================================================================================================
function           columns (optional ones in parentheses)
=================  ==================================================================================================
knockout_curves    pathway, layer, mean, low, high, n, (category)
dot_plot           label, group, value, low, high, n; low and high may be missing values, for a reported number
training_curves    step, measure, value
timeline           track, label, modality ("video" or "audio"), start, end
work_map           pathway, centre, layer, start, stop, tokens; and the prompt's stripes: kind, start, stop
ratios             label, group, n, ratio, limit
=================  ==================================================================================================

What all charts keep to:

1. Colour belongs to the *kind of token* that a row is about, the same on every page: video blue, audio orange, both
   together green, question purple. Dashes and point shapes repeat what colours say, so none carries anything alone.
2. Every mean is drawn with its interval, and its tooltip tells `n`.
3. A chart is as wide as its column of text and its facets wrap; in a narrow window they stand below each other.
"""

from avsink.charts.curves import knockout_curves, training_curves
from avsink.charts.dots import dot_plot, ratios
from avsink.charts.spans import timeline, work_map
from avsink.figure import clip, picture

__all__ = ["clip", "dot_plot", "knockout_curves", "picture", "ratios", "timeline", "training_curves", "work_map"]

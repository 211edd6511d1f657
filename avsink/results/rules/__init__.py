"""Kinds of rules: conditions on 95 % intervals, one for each kind of statement (used by `avsink.papers.*.claims`).

A change of less than `margin` (0.1: a tenth of the answer's probability) counts as none. With the margin m, and the
mean Δp over samples at each layer, in a band that holds at all layers of all categories together:

===============  ==============================================  =============================================
rule             supported if                                    not supported if
===============  ==============================================  =============================================
`drops`          at some layer the band lies below -m            at every layer the band lies above -m
`rises`          at some layer the band lies above +m            at every layer the band lies below +m
`stays_flat`     at every layer the band lies within ±m          at some layer the band lies outside of ±m
`comes_first`    the lag's interval lies above 0                 the lag's interval does not reach above 0
`lies_at_depth`  the interval of the deepest layer lies between  the interval lies outside of the bounds
                 two depths
`costs_more`     the interval of the difference lies above m     the interval lies below m
===============  ==============================================  =============================================

`drops`, `rises`, `stays_flat` and `costs_more` are applied to each task category. `scope` says in how many they must
hold: every one, almost every one (at least three quarters), most (more than half), any; or together, all samples being
one category. A curve that stays flat counts only if another pathway, which shares no edges with it, drops on the same
samples. The lag is the number of layers from the first pathway's deepest mean Δp to the second's; a pathway without a
clear drop has no such layer. Where layers on both sides of a bound of the depth are equally deep, that is a plateau.

`lies_above` compares the mean of one number per sample with a bar, `is_most_of` a part with its whole. `unharmed` and
`improves` compare a configuration's accuracy with the baseline's on the same samples. `holds_more` compares the effects
of restoring sets of tokens in causal tracing (`avsink.results.rules.effects`).

`every_part` joins rules into one, `among` and `reading` narrow the rows that a rule is about, `in_each_category` asks
for several rules in each category, `unless` puts a condition before a rule.

Every rule needs `FEWEST` samples. Where nothing was measured, the outcome is "not measured".
"""

from avsink.results.rules.accuracy import harmless, improves, unharmed
from avsink.results.rules.curves import drops, rises, stays_flat
from avsink.results.rules.effects import EVERYWHERE, holds_more
from avsink.results.rules.layers import comes_first, costs_more, lies_at_depth
from avsink.results.rules.narrowed import among, in_each_category, reading, unless
from avsink.results.rules.numbers import is_most_of, lies_above
from avsink.results.rules.parts import every_part
from avsink.results.rules.shared import FEWEST
from avsink.results.rules.words import share, told

__all__ = [
    "EVERYWHERE",
    "FEWEST",
    "among",
    "comes_first",
    "costs_more",
    "drops",
    "every_part",
    "harmless",
    "holds_more",
    "improves",
    "in_each_category",
    "is_most_of",
    "lies_above",
    "lies_at_depth",
    "reading",
    "rises",
    "share",
    "stays_flat",
    "told",
    "unharmed",
    "unless",
]

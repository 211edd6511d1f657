"""Rules on what restoring sets of tokens brings back in causal tracing, compared sample by sample.

`holds_more` says that one amount is larger than another, for example that sinks bring back more than half of what all
tokens do (`avsink.results.rules.amounts`).

1. Of each sample, the second amount is subtracted from the first. A set that was drawn several times counts with the
   mean of its draws, a set without tokens with 0.
2. A *part* of the statement is one dominance and one effect, IE_clean or IE_corrupt. It is supported if the 95 %
   interval of the mean difference lies above 0, not supported if it does not reach above 0, and too wide otherwise.
3. A part says nothing, and says why, in this order:
   *not measured*: a set is missing;
   *too few*: fewer than `FEWEST` samples;
   *sizes do not fit*: a set is nearly everywhere (`EVERYWHERE` of all tokens), or not of the size that the statement
   speaks of (`sizes`);
   *nothing to restore*: the interval of `whole`, of which the statement tells the place, does not reach above `NEARLY`;
   or a set has tokens in fewer than half of the samples. A share of all tokens needs no tokens in the set: sinks that
   do not exist do not hold most.
4. Where the interval of `whole` lies on both sides of 0, nobody knows whether there is anything to place. Such a part
   is not supported if the difference contradicts the statement, and else *too wide*.
5. The statement is supported if all parts are. Parts in which it is certain that `whole` brings back nothing are left
   out, unless there is no other.

`Comparison.of_means` holds printed means to the same rule. They come without intervals: the interval is then what the
rounding of the printed digits leaves open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from avsink.results.bootstrap import LEVEL, resampled_means
from avsink.results.rules.amounts import ALL, Amount, Term, amount
from avsink.results.rules.shared import FEWEST, if_measured
from avsink.results.rules.words import told
from avsink.results.verdicts import Found, Outcome, Rule, every_of

__all__ = ["ALIKE", "EVERYWHERE", "FEWER", "Comparison", "holds_more"]

READS = "effects"  # the name of these rows where a page measures several things
EVERYWHERE = 0.8  # of all tokens that can be restored: a set of so many is not one of several places
ALIKE = (2 / 3, 1.5)  # sizes of two sets, divided: as many tokens in both, more or less
FEWER = (0.0, 0.75)  # the first set has clearly fewer tokens than the second
NEARLY = 0.01  # an effect, as a difference of probabilities: no more than this is nothing
DOMINANCES = ("audio", "video")
EFFECTS = {"ie_clean": "IE_clean", "ie_corrupt": "IE_corrupt"}
ROUNDED = 0.0000500001  # a mean that is printed in points with two digits is off by less than this


class Part(NamedTuple):
    """What is found of one dominance and one effect; `void` if `whole` brings back nothing."""

    outcome: Outcome
    where: str
    text: str
    void: bool = False


@dataclass(frozen=True, kw_only=True)
class Comparison(Rule):
    """A rule that compares two amounts.

    Attributes:
        first: The amount that is said to be larger.
        second: The other one.
        whole: The amount of which the statement tells the place.
        sizes: The least and the most that the tokens of `first`, divided by those of `second`, may be; None: any.
        dominances: Which samples count.
        effects: Which effects count.
    """

    test: Callable[[pd.DataFrame], Found] = field(init=False, repr=False, compare=False)
    first: Amount
    second: Amount
    whole: Amount
    sizes: tuple[float, float] | None
    dominances: tuple[str, ...]
    effects: tuple[str, ...]

    def __post_init__(self):
        object.__setattr__(self, "test", if_measured(self.of_rows))

    @property
    def terms(self) -> tuple[Term, ...]:
        """All that must have been measured."""
        return tuple(dict.fromkeys((self.first + self.second + self.whole + ALL).terms))

    def of_rows(self, rows: pd.DataFrame) -> Found:
        """Judge rows of `avsink.instruments.tracing.trace` over many samples."""
        return self._judged(rows, printed=False)

    def of_means(self, means: pd.DataFrame) -> Found:
        """Judge printed means: one row per (dominance, token_set, one_in), with the effects as fractions and tokens."""
        return self._judged(means.assign(sample="mean"), printed=True)

    def _judged(self, rows: pd.DataFrame, *, printed: bool) -> Found:
        parts = [part for kind in self.dominances for part in self._parts(rows, kind, printed=printed)]
        counted = [part for part in parts if not part.void] or parts
        alike = len({part.outcome for part in parts}) == 1
        of = f"{self.first} against {self.second}, and the difference" if self.second.terms else f"{self.first}"
        texts = [f"{of}, in points; bar 0{', means as printed' if printed else ''}"]
        for where in dict.fromkeys(part.where for part in parts):
            own = [part for part in parts if part.where == where]
            texts.append(
                f"{where}: " + "; ".join(part.text if alike else f"{part.outcome}, {part.text}" for part in own)
            )
        return Found(every_of([part.outcome for part in counted]), ". ".join([*texts, *self._one_set(rows)]))

    def _parts(self, rows: pd.DataFrame, kind: str, *, printed: bool) -> Iterator[Part]:
        """The parts of one dominance; a single one if there is one reason to say nothing."""
        where, own = f"{kind}-dominant", rows[rows["dominance"] == kind]
        if own.empty:
            yield Part("not measured", where, "no such sample")
            return
        own = own[own["token_set"].isin([term.token_set for term in self.terms])]
        if own.empty:
            yield Part("not measured", where, "none of these sets")
            return
        draws = own.groupby(["sample", "token_set", "one_in"])[[*self.effects, "tokens"]]
        table = draws.mean().unstack(["token_set", "one_in"]).reindex(own["sample"].unique())  # order decides resamples
        several = [term for term in self.terms if len(term.one_in) > 1]
        known = [{n for _, n in term.columns(table["tokens"])} for term in several]
        shared = set.intersection(*known) if known else set()
        terms = [term._replace(one_in=tuple(sorted(shared))) if term in several else term for term in self.terms]
        if missing := [term for term, own in zip(self.terms, terms, strict=True) if not own.columns(table["tokens"])]:
            yield Part("not measured", where, f"{missing[0].set} is missing")
            return
        keys = [key for term in terms for key in term.columns(table["tokens"])]
        table = table[[name for name in table.columns if name[1:] in keys]].dropna()
        if known and shared != set(several[0].one_in):
            where = f"{where}, N = {', '.join(map(str, sorted(shared)))}"
        where = where if printed else f"{where}, n = {len(table)}"
        if part := self._unfit(table["tokens"], where, printed=printed):
            yield part
            return
        for effect in self.effects:
            yield self._part(table[effect], where, EFFECTS[effect], printed=printed)

    def _unfit(self, tokens: pd.DataFrame, where: str, *, printed: bool) -> Part | None:
        """Why these sets of tokens cannot be compared; None if they can."""
        if len(tokens) < (1 if printed else FEWEST):
            return Part("too few", where, f"fewer than {FEWEST} samples have all of these sets")
        places = (*self.first.places, *self.second.places)
        size = {term: float(tokens[term.columns(tokens)].mean(axis=None)) for term in self.terms}
        there = {term: float((tokens[term.columns(tokens)].max(axis=1) > 0).mean()) for term in self.terms}
        if wide := [term for term in places if size[term] >= EVERYWHERE * size[ALL.terms[0]]]:
            counted = f"{size[wide[0]]:.1f} of {size[ALL.terms[0]]:.1f} tokens"
            return Part("sizes do not fit", where, f"{wide[0].set} is nearly everywhere, {counted}")
        rare = [term for term in (*self.whole.places, *places) if there[term] < 0.5]
        if rare and (self.second.places or self.whole.places):
            text = f"{there[rare[0]]:.0%} of the samples have tokens in {rare[0].set}"
            return Part("nothing to restore", where, text, void=rare[0] in self.whole.places)
        if self.sizes and not rare:
            one, two = self.first.places[0], self.second.places[0]
            if not self.sizes[0] <= size[one] / size[two] <= self.sizes[1]:
                counted = f"{size[one]:.1f} tokens in {one.set}, {size[two]:.1f} in {two.set}"
                return Part("sizes do not fit", where, counted)
        return None

    def _part(self, table: pd.DataFrame, where: str, effect: str, *, printed: bool) -> Part:
        first, second, whole = (one.of(table) for one in (self.first, self.second, self.whole))
        if not self.second.terms:
            low, high, text = _interval(first, self.first.shares, printed=printed)
            return Part(_outcome(low, high), where, f"{effect} {text}")
        least, most, there = _interval(whole, self.whole.shares, printed=printed)
        low, high, text = _interval(first - second, self.first.shares + self.second.shares, printed=printed)
        one, two = (_points(numbers.mean(), 2 if printed else 1) for numbers in (first, second))
        of_whole, text = f"{effect} of {self.whole} is {there}", f"{effect} {one} against {two}, {text}"
        if least <= 0 if printed else most <= NEARLY:  # a printed mean has no noise but its rounding
            return Part("nothing to restore", where, of_whole, void=True)
        if least > 0 or high <= 0:
            return Part(_outcome(low, high), where, text)
        return Part("too wide", where, f"{of_whole}, on both sides of 0; {text}")

    def _one_set(self, rows: pd.DataFrame) -> list[str]:
        """Say so where several values of N take the same tokens: sets that lie in one another, and are of one size."""
        widest = max((*self.first.terms, *self.second.terms), key=lambda term: len(term.one_in))
        if len(widest.one_in) < 2:
            return []
        own = rows[(rows["token_set"] == widest.token_set) & rows["one_in"].isin(widest.one_in)]
        sizes = own.pivot_table(index=["dominance", "sample"], columns="one_in", values="tokens")
        if sizes.shape[1] < 2 or not sizes.eq(sizes.iloc[:, 0], axis=0).all(axis=None):
            return []
        return [f"N = {', '.join(map(str, sizes))} take the same tokens here, and count as one"]


def holds_more(
    first: Amount | tuple[str, int],
    second: Amount | tuple[str, int],
    *,
    claim: str,
    where: str,
    whole: Amount = ALL,
    sizes: tuple[float, float] | None = None,
    dominance: str | None = None,
    value: str | None = None,
) -> Comparison:
    """Rule: restoring the first amount of tokens brings back more than restoring the second.

    Args:
        first: The amount, or (token_set, one_in) for the whole of one set.
        second: The amount to compare with; that without terms is 0.
        claim: The paper's statement.
        where: Its place in the paper.
        whole: The amount of which the statement tells the place. Where it is certain to be nothing, there is no place.
        sizes: `ALIKE`, `FEWER` or another range of the tokens in `first` divided by those in `second`; None: any.
        dominance: Which samples count, "audio" or "video"; None for both, each of which must support the statement.
        value: The effect, "ie_clean" or "ie_corrupt"; None for both, each of which must support the statement.
    """
    first, second = (one if isinstance(one, Amount) else amount(*one) for one in (first, second))
    dominances = (dominance,) if dominance else DOMINANCES
    effects = (value,) if value else tuple(EFFECTS)
    condition = (
        f"{' and '.join(EFFECTS[effect] for effect in effects)} of {first}"
        f"{f' minus {second}' if second.terms else ''}, sample by sample: the interval lies above 0 for "
        f"{' and '.join(f'{kind}-dominant' for kind in dominances)} samples (n ≥ {FEWEST})"
        f"{f', unless that of {whole} does not reach above {100 * NEARLY:g} point' if second.terms else ''}"
    )
    if sizes:
        condition += (
            f"; {first.places[0].set} has {sizes[0]:.2g} to {sizes[1]:.2g} times as many tokens as the other set"
        )
    return Comparison(
        claim=claim,
        where=where,
        condition=condition,
        first=first,
        second=second,
        reads=READS,
        whole=whole,
        sizes=sizes,
        dominances=dominances,
        effects=effects,
    )


def _interval(numbers: pd.Series, shares: float, *, printed: bool) -> tuple[float, float, str]:
    """Low and high of the mean of one number per sample, and it in words; of a printed mean, by its rounding."""
    if printed:
        mean, off = float(numbers.iloc[0]), shares * ROUNDED
        return mean - off, mean + off, _points(mean, 2, "+")
    values = numbers.to_numpy()
    low, high = np.quantile(resampled_means(values[:, None]), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    points = {"mean": 100 * values.mean(), "low": 100 * low, "high": 100 * high}
    return low, high, told(points, bars=(0,), form="+z.1f")


def _outcome(low: float, high: float) -> Outcome:
    return "supported" if low > 0 else "not supported" if high <= 0 else "too wide"


def _points(share: float, digits: int, sign: str = "") -> str:
    return f"{100 * share:{sign}z.{digits}f}".replace("-", "−")

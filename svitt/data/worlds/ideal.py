"""Ideal and blind observers: what the clips of a world can tell at best, and what captions tell without them.

A rule is worth its seeds only if a perfect reader would score otherwise than a blind one. A reader is given
as its *beliefs*: how likely each text is the clip's caption, up to a factor; equally likely texts are chosen
at random, and all scores here are expectations over that choice. What a clip's frames tell is the world's
affair (``shapes/reader.py``); where a clip shows something that its reversal undoes, as in the robot world,
and all else is seen in any frame, ``two_way`` says it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from svitt.config import require

Floats = npt.NDArray[np.float64]
# Text -> how likely it is the clip's caption, up to a factor.
Beliefs = Callable[[str], float]
_TIES = 1e-12  # relative: sums of the same numbers in another order


class Told(Protocol):
    """What can be said of a clip, and of the clip played backwards: a scene of shapes, a robot's action."""

    def caption(self, kind: Literal["static", "mixed"]) -> str: ...
    def reversed(self) -> Told: ...


def of_captions(verbs: Mapping[str, float], static: str, dial: float) -> Beliefs:
    """Beliefs about a clip whose caption carries a verb with probability ``dial``.

    verbs: how likely each caption with a verb is, of those; static: the caption without.
    """
    require(0 <= dial <= 1, "dial", dial, "0 (static) to 1 (temporal)")
    weights = {text: dial * share for text, share in verbs.items()}
    weights[static] = weights.get(static, 0.0) + 1 - dial
    return lambda text: weights.get(text, 0.0)


def two_way(told: Told, dial: float, in_order: bool) -> Beliefs:
    """Beliefs of a reader who sees all but the direction in any frame, and the direction where frames are in
    order (two frames or more); otherwise the clip and its reversal are equally likely to it."""
    forward = told.caption("mixed")
    verbs = {forward: 1.0} if in_order else {forward: 0.5, told.reversed().caption("mixed"): 0.5}
    return of_captions(verbs, told.caption("static"), dial)


def blind(captions: Sequence[str]) -> Beliefs:
    """Beliefs of a reader who sees no clip and knows the captions of the training split.

    Each word given the one before it, counted in the captions, add one: so that a caption never met is as
    likely as its words are. Errors: ConfigError without captions.
    """
    require(len(captions) > 0, "captions", len(captions), "one or more")
    pairs: Counter[tuple[str, str]] = Counter()
    for caption in captions:
        words = ["", *caption.split(), ""]
        pairs.update(pairwise(words))
    first: Counter[str] = Counter()
    for (word, _), count in pairs.items():
        first[word] += count
    known = len(first)

    def belief(text: str) -> float:
        words = ["", *text.split(), ""]
        steps = pairwise(words)
        return math.prod((pairs[step] + 1) / (first[step[0]] + known) for step in steps)

    return belief


def hits(captions: Sequence[str], beliefs: Sequence[Beliefs], pool_size: int) -> Floats:
    """(N,) expected R@1 of each clip: how likely the reader takes the clip's own caption, of all the
    different ones in its pool. Pools of ``pool_size`` clips each, in order.

    Errors: ConfigError where captions and beliefs are not of the same clips.
    """
    require(len(captions) == len(beliefs), "beliefs", len(beliefs), f"one for each of {len(captions)} clips")
    found = []
    for start in range(0, len(captions), pool_size):
        pool = sorted(set(captions[start : start + pool_size]))
        for caption, belief in zip(
            captions[start : start + pool_size], beliefs[start : start + pool_size], strict=True
        ):
            found.append(_chosen([belief(text) for text in pool], pool.index(caption)))
    return np.array(found)


def choices(texts: Sequence[Sequence[str]], right: Sequence[int], beliefs: Sequence[Beliefs]) -> Floats:
    """(N,) expected accuracy of each clip's choice among its texts, of which number ``right`` is true."""
    return np.array(
        [
            _chosen([belief(text) for text in options], true)
            for options, true, belief in zip(texts, right, beliefs, strict=True)
        ]
    )


def _chosen(weights: Sequence[float], true: int) -> float:
    """How likely the true one is taken: the heaviest, drawn among equals."""
    most = max(weights)
    best = [weight >= most * (1 - _TIES) for weight in weights]
    return best[true] / sum(best)

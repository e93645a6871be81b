"""The rules that the definition leaves to the Keras in use, by release.

Reductions, masks, weights and the recovery of logits follow the host, so an answer can
change and be right on both sides. Each rule says how the releases differ, under which
condition it shows, and where it was changed. No TensorFlow.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any, Callable, Optional

import numpy as np

from keras_losses_ref.conformance import cases
from keras_losses_ref.conformance.cases import Case
from keras_losses_ref.conformance.runtime import backend_of

_KERAS = "https://github.com/keras-team/keras"
_MEANS = ("sum_over_batch_size", "mean", "auto")


@dataclasses.dataclass(frozen=True)
class HostRule:
    """One thing that versions of Keras do differently, all within the definition."""

    id: str
    subject: str
    #: (first version, what Keras does from there on), oldest first; or, of a rule that
    #: goes by the backend, (backend, what Keras does on it).
    ways: tuple[tuple[str, str], ...]
    thread: str
    #: Under which condition it shows, in words.
    when: str
    #: Whether a case meets that condition, on an aspect.
    condition: Callable[[Case, str], Any]
    by_backend: bool = False

    def way(self, environment: Mapping[str, Any]) -> str:
        """What the Keras of an environment does."""
        if self.by_backend:
            return dict(self.ways).get(backend_of(environment), self.ways[0][1])
        number = _number(environment["keras"])
        passed = [way for first, way in self.ways if _number(first) <= number]
        return passed[-1] if passed else self.ways[0][1]

    def differs(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
        """Whether the two environments follow different ways."""
        return self.way(old) != self.way(new)

    def sentence(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
        """What changed from one environment to the other, in words."""
        return f"{self.subject} {self.way(new)}. Before, it {self.way(old)}."

    def entry(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
        """The rule in the form of a ledger entry, for a comparison."""
        return {
            "sentence": self.sentence(old, new),
            "thread": self.thread,
            "when": self.when,
            "versions": [[first, way] for first, way in self.ways],
        }


def _number(version):
    """(3, 13) of "3.13.2"; a development version counts as its release."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:2])


def _masked(case):
    return case.mask is not None or case.config.get("ignore_class") is not None


def _masked_mean(case, aspect):
    if aspect in ("error", "config", "dtype"):
        return False
    circle = case.loss == "Circle"  # masks the samples without a pair
    return (_masked(case) or circle) and case.reduction in _MEANS


def _empty(case, aspect):
    return np.size(case.y_pred) == 0


def _rank_of_weights(case, aspect):
    """A weight or mask whose rank is not that of the values."""
    ranks = [np.ndim(x) for x in (case.sample_weight, case.mask) if x is not None]
    reduced = 2 if case.loss == "CTC" else 1
    batch = np.shape(case.y_pred)[: max(np.ndim(case.y_pred) - reduced, 0)]
    plain = (len(batch),) if batch == (1,) else (0, len(batch))
    return any(rank not in plain for rank in ranks) or len(set(ranks)) > 1


def _logits_behind_ignore_class(case, aspect):
    traced = case.path not in ("eager", "reloaded")
    hidden = case.activation is not None and traced
    return hidden and case.config.get("ignore_class") is not None


def _logits_behind_activation(case, aspect):
    return case.activation is not None and case.path not in ("eager", "reloaded")


def _dtype_of_config(case, aspect):
    return aspect == "config" or case.path == "reloaded" and case.dtype != "float32"


RULES = (
    HostRule(
        "masked-mean-divisor",
        "The mean under a mask",
        (
            ("2.0", "divides by the number of valid elements, and is NaN without any"),
            ("3.0", "divides by the number of valid elements + 1e-7"),
            ("3.13", "divides by the number of valid elements, and is 0 without any"),
        ),
        f"{_KERAS}/pull/21908",
        "a mask or ignore_class, and a mean as the reduction",
        _masked_mean,
    ),
    HostRule(
        "empty-mean",
        "The mean over an empty batch",
        (("2.0", "is 0"), ("3.0", "is 0 / 0, NaN"), ("3.7", "is 0")),
        f"{_KERAS}/pull/20410",
        "an empty batch",
        _empty,
    ),
    HostRule(
        "empty-vector-kept",
        "The loss of an empty vector of samples",
        (("2.0", "is reduced like any other"), ("3.0", "is returned as it is")),
        f"{_KERAS}/blob/v3.0.5/keras/losses/loss.py",
        "an empty batch",
        _empty,
    ),
    HostRule(
        "weights-of-another-rank",
        "A weight or mask whose rank is not that of the losses",
        (
            ("2.0", "gets or loses a last axis, whatever the losses are"),
            ("3.0", "meets losses that may get or lose the axis themselves"),
        ),
        f"{_KERAS}/blob/v3.0.5/keras/losses/loss.py",
        "sample weights or masks of another rank than the losses",
        _rank_of_weights,
    ),
    HostRule(
        "logits-behind-ignore-class",
        "A cross-entropy in a graph, of a softmax, with ignore_class",
        (
            ("2.0", "computes from the logits behind the softmax"),
            ("3.0", "computes from the probabilities, which it has masked by then"),
        ),
        f"{_KERAS}/blob/v3.0.5/keras/backend/tensorflow/nn.py",
        "a softmax before the loss, ignore_class, and a graph",
        _logits_behind_ignore_class,
    ),
    HostRule(
        "config-holds-dtype",
        "The saved config of a loss",
        (("2.0", "holds no dtype: a loss has none"), ("3.0", "holds the dtype")),
        f"{_KERAS}/blob/v3.4.1/keras/src/losses/loss.py",
        "a loss with a dtype of its own that is saved and loaded",
        _dtype_of_config,
    ),
    HostRule(
        "logits-behind-activation",
        "A cross-entropy in a graph, of a sigmoid or softmax",
        (
            ("tensorflow", "computes from the logits behind it"),
            ("jax", "computes from the probabilities: it sees no graph"),
        ),
        f"{_KERAS}/blob/v3.15.1/keras/src/backend/jax/nn.py",
        "a sigmoid or softmax before the loss, and a graph",
        _logits_behind_activation,
        by_backend=True,
    ),
)

BY_ID = {rule.id: rule for rule in RULES}


@functools.lru_cache(maxsize=1)
def corpus() -> dict[str, Case]:
    """{id: case} of the whole corpus."""
    return {case.id: case for case in cases.corpus(full=True)}


def case_of(question: str) -> Optional[Case]:
    """The case of an id of a record, without its device; None if it is not a case."""
    if "/" not in question:
        return None
    return corpus().get(re.sub(r",GPU:\d+\]$", "]", question))


def responsible(
    question: str, aspect: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> Optional[HostRule]:
    """The rule that changed a right answer from old to new, or None.

    The first rule in which the versions differ and whose condition the case meets.
    """
    case = case_of(question)
    if case is None:
        return None
    for rule in RULES:
        if rule.differs(old, new) and rule.condition(case, aspect):
            return rule
    return None

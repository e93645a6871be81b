"""A deviation is data: one way in which released Kerases differ."""

import dataclasses
import re
import weakref
from typing import Any, Callable, Optional

from keras_losses_ref.conformance.cases.case import Case
from keras_losses_ref.conformance.deviations import jax_formulas
from keras_losses_ref.conformance.outcome import Outcome, refusal
from keras_losses_ref.conformance.truth import (
    host_rules,
    right_answer,
    with_second_derivative,
)

#: {case: {deviation: its answer}}, for as long as a case lives.
_answers: "weakref.WeakKeyDictionary[Case, dict[Deviation, Outcome]]" = (
    weakref.WeakKeyDictionary()
)


@dataclasses.dataclass(frozen=True)
class Deviation:
    """One way in which released Kerases differ from the definition."""

    id: str
    losses: tuple[str, ...]
    #: Ranges of Keras versions, both ends included; None where there is no end yet. A
    #: range ends with its generation: tf_keras 2 and Keras 3 are released side by side.
    versions: tuple[tuple[str, Optional[str]], ...]
    sentence: str
    #: The upstream thread or source that shows it.
    thread: str
    #: Whether a case of one of the losses meets the condition.
    condition: Callable[[Case], Any]
    #: What a deviating Keras gives for such a case.
    outcome: Callable[[Case], Outcome]
    #: How much of an absolute error (case, aspect) explains on top of the tolerance:
    #: for formulas that cancel, whose rounding errors no other formula repeats.
    allowed: Callable[[Case, str], Any] = lambda case, aspect: 0.0
    #: The one backend that it shows on; None where it shows on every one.
    backend: Optional[str] = None
    #: What Keras on JAX gives, where `outcome` follows TensorFlow's rounding or
    #: derivatives; None where it does not depend on them.
    on_jax: Optional[Callable] = None

    def applies(self, case: Case) -> bool:
        return case.loss in self.losses and bool(self.condition(case))

    def answer(self, case: Case) -> Outcome:
        """`outcome`, with the second derivative where the case asks for it.

        Computed once for each case, however many aspects of it are judged.
        """
        answers = _answers.setdefault(case, {})
        if self not in answers:
            answers[self] = self._answer(case)
        return answers[self]

    def _answer(self, case):
        deviating = self.outcome
        if self.on_jax is not None and host_rules().backend == "jax":
            deviating = self.on_jax
        try:
            outcome = deviating(case)
        except ValueError as error:  # shapes that do not fit, whatever the formula
            if not right_answer(case).error:
                raise
            return refusal(error)
        if not case.check_hessian or outcome.error or outcome.second is not None:
            return outcome
        return with_second_derivative(outcome, case, deviating)

    def margin(self, case: Case, aspect: str) -> Any:
        """`allowed`, and what the dtypes of JAX add to it there."""
        margin = self.allowed(case, aspect)
        if self.on_jax is None or host_rules().backend != "jax":
            return margin
        return max(margin, jax_formulas.float32_rounding(case, aspect))

    def covers(self, version: str, backend: str = "tensorflow") -> bool:
        """Whether a Keras of this version deviates so on that backend."""
        if self.backend not in (None, backend):
            return False
        number = _number(version)
        return any(
            _number(first)[0] == number[0]
            and _number(first) <= number
            and (last is None or number <= _number(last))
            for first, last in self.versions
        )


def _number(version):
    """(3, 15, 1) of "3.15.1"; a development version counts as its release."""
    return tuple(int(n) for n in re.findall(r"\d+", version)[:3])

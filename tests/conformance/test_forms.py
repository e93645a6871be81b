"""`check` hands inputs over in every form, and listens for warnings."""

import warnings

import pytest

from keras_losses_ref import losses
from keras_losses_ref.conformance import check, report
from keras_losses_ref.conformance.cases import FORMS, HANDWRITTEN, corpus
from keras_losses_ref.conformance.verdict import AGREE, OURS_WRONG
from keras_losses_ref.losses import compat


def asked(loss):
    return [
        case
        for case in corpus([loss])
        if case.form != "tensor" or case.expected_warning is not None
    ]


@pytest.mark.parametrize("loss", HANDWRITTEN)
def test_every_loss_is_asked_in_every_form_that_holds_its_inputs(loss):
    forms = [case.form for case in asked(loss) if case.form != "tensor"]
    never = {"boolean_labels", "ragged", "pandas", "integer_labels"}
    assert set(FORMS[1:]) - set(forms) <= never
    assert len(forms) == len(set(forms))


def test_both_warn_and_the_report_says_what_of():
    result = check.check(asked("CategoricalCrossentropy"))
    warned = [v for v in result.results if v.aspect == "warning"]
    assert {v.keras.warning for v in warned} == {("SyntaxWarning",), ("UserWarning",)}
    assert {v.verdict for v in result.results if not v.skipped} == {AGREE}
    covered = report.coverage(result)["CategoricalCrossentropy"]
    assert set(covered["warnings"]) == {"num_classes > 1", "from_logits=True"}
    assert {"list", "unknown_rank", "symbolic"} <= set(covered["forms"])


def test_a_loss_that_no_longer_warns_is_found(monkeypatch):
    inner = losses.CategoricalCrossentropy.__call__

    def silent(*arguments, **more):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return inner(*arguments, **more)

    monkeypatch.setattr(losses.CategoricalCrossentropy, "__call__", silent)
    cases = [c for c in asked("CategoricalCrossentropy") if c.expected_warning]
    wrong = [v for v in check.check(cases).results if v.verdict == OURS_WRONG]
    assert {v.aspect for v in wrong} == {"warning"}
    assert "warns of nothing, not of SyntaxWarning" in "".join(v.text() for v in wrong)


def test_a_loss_that_takes_tensors_only_is_found(monkeypatch):
    inner = losses.Huber.__call__

    def strict(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, list):
            raise TypeError("no lists")
        return inner(self, y_true, y_pred, sample_weight)

    monkeypatch.setattr(losses.Huber, "__call__", strict)
    wrong = [v for v in check.check(asked("Huber")).results if v.failed]
    assert [v.case.form for v in wrong] == ["list"]


def test_the_forms_of_the_host_are_named():
    forms = {case.form for case in asked("MeanSquaredError")}
    result = check.check(asked("MeanSquaredError"))
    skipped = {v.case.form for v in result.results if v.skipped}
    assert skipped <= {"pandas", "keras_variable"}
    assert ("keras_variable" in skipped) == (compat.GENERATION == 2)
    assert forms - skipped >= {"tensor", "list"} - {"tensor"}

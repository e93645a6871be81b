"""Cases of the losses over the reals."""

import numpy as np

from keras_losses_ref.conformance.cases.case import (
    INF,
    NAN,
    magnitudes,
    real,
    shapes,
    table,
)

_WIDE = {"dtypes": ("float32", "float64")}


def _regression(loss, *more):
    """Rows that every elementwise loss over the reals shares, and `more`."""
    small = _WIDE
    return table(
        loss,
        *shapes(real, real),
        ("typical", "nothing special", [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]]),
        ("documented", "the example of Keras's page", [[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]]),
        ("perfect", "no error, no gradient", [[1.5, -2.0]], [[1.5, -2.0]]),
        ("all_zero", "zeros against zeros", [[0.0, 0.0]], [[0.0, 0.0]]),
        ("negative_zero", "the sign of zero must not matter", [[0.0, -0.0]], [[-0.0, 0.0]]),
        ("one_kink", "one exact hit among misses", [[1.0, 2.0]], [[1.0, 3.0]]),
        ("opposite_signs", "errors that would cancel if summed with sign", [[1.0, -1.0]], [[-1.0, 1.0]]),
        ("asymmetric", "a rise and a fall of different size", [[0.0, 0.0]], [[0.25, -4.0]]),
        ("y_true_above", "the sign of y_pred - y_true, from below", [[3.0, 5.0]], [[1.0, 2.0]]),
        ("y_true_below", "the sign of y_pred - y_true, from above", [[1.0, 2.0]], [[3.0, 5.0]]),
        ("per_row", "rows of different loss: a mean over the wrong axis shows", [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]),
        ("integer_labels", "integers are values here", np.array([[1, 2], [3, 4]]), [[1.5, 2.5], [2.0, 4.0]]),
        ("boolean_labels", "0 and 1 from a comparison", np.array([[True, False]]), [[0.75, 0.25]]),
        ("large_labels", "integers beyond float16's exact ones", np.array([[2049, 4097]]), [[2048.0, 4096.0]]),
        ("close_values", "an error far below the values", [[1000.0, 2000.0]], [[1000.5, 1999.0]]),
        ("nan_prediction", "NaN must not vanish", [[0.0, 1.0], [0.0, 1.0]], [[NAN, 1.0], [0.5, 1.0]]),
        ("nan_label", "nor in the labels", [[NAN, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.5, 1.0]]),
        ("infinite_prediction", "an infinite error is infinite", [[0.0, 1.0]], [[INF, 1.0]]),
        ("half_overflow", "squares beyond 65504, a mean below it", [[0.0, 0.0]], [[300.0, 1.0]], {"dtypes": ("float16",)}),
        ("tiny", "errors of 1e-18: the square is still normal", [[0.0, 0.0]], [[1e-18, -2e-18]], small),
        ("huge", "errors of 1e15", [[0.0, 0.0]], [[1e15, -2e15]], small),
        ("broadcast_column", "one label for all outputs of a row", [[1.0], [2.0]], [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]),
        ("nan_under_zero_weight", "0 * NaN is NaN, as in Keras", [[0.0], [1.0]], [[NAN], [0.5]], {"sample_weight": [0.0, 1.0]}),
        ("half_steps", "errors that every dtype holds exactly", [[0.5, -1.5], [2.0, 4.0]], [[1.0, -1.0], [1.5, 4.5]]),
        ("scalar_weighted", "a weight of 3 is three of the batch", [[0.0, 1.0]], [[1.0, 3.0]], {"sample_weight": 3.0}),
        ("negative_values", "both below zero, an overestimate and an underestimate", [[-3.0, -5.0]], [[-2.0, -8.0]]),
        ("sweep_small", "magnitudes from 1e-12 to 1", magnitudes(31, 6, 4, low=-12, high=0), magnitudes(32, 6, 4, low=-12, high=0), small),
        ("sweep_large", "magnitudes from 1 to 1e12", magnitudes(33, 6, 4, low=0, high=12), magnitudes(34, 6, 4, low=0, high=12), small),
        *more,
    )  # fmt: skip


_MAPE = _regression(
    "MeanAbsolutePercentageError",
    ("per_cent", "an error of a half is 50", [[1.0, 2.0]], [[1.5, 1.0]]),
    ("truth_zero", "y_true = 0 counts as 1e-7: one miss outweighs the batch", [[0.0, 1.0]], [[0.5, 1.5]]),
    ("truth_zero_hit", "0 against 0 is no miss", [[0.0, 2.0]], [[0.0, 1.0]]),
    ("truth_below_epsilon", "1e-9 counts as 1e-7 too", [[1e-9, -1e-9]], [[2e-9, 1e-9]], _WIDE),
    ("truth_at_epsilon", "the bound itself", [[1e-7, -1e-7]], [[3e-7, 3e-7]], _WIDE),
    ("truth_above_epsilon", "just above the bound", [[1.5e-7, -2e-7]], [[3e-7, 3e-7]], _WIDE),
    ("truth_negative", "the size of the truth, not its sign", [[-2.0, -4.0]], [[-1.0, -6.0]]),
    ("truth_scales", "the same error against ever larger truths", [[1.0, 10.0, 100.0]], [[2.0, 11.0, 101.0]]),
    ("divided_by_truth", "not by the prediction", [[4.0, 4.0]], [[1.0, 16.0]]),
    ("nan_at_zero_truth", "NaN passes the bound", [[0.0, 1.0]], [[NAN, 1.0]]),
)  # fmt: skip

_MSLE = _regression(
    "MeanSquaredLogarithmicError",
    ("doubled", "log 2 squared, whatever the size", [[1.0, 3.0]], [[3.0, 7.0]]),
    ("below_minus_one", "log(1 + y) would be NaN: the bound keeps it at 1e-7", [[0.5, 1.0]], [[-1.5, -3.0]]),
    ("truth_below_minus_one", "in the labels as well", [[-1.5, -3.0]], [[0.5, 1.0]]),
    ("at_minus_one", "log 0 without the bound", [[0.5, 1.0]], [[-1.0, 0.0]]),
    ("both_negative", "both are 1e-7: no loss, no gradient", [[-1.0, -2.0]], [[-3.0, -4.0]]),
    ("at_epsilon", "the bound's gate is inclusive", [[1.0, 2.0]], [[float(np.float32(1e-7)), 1.0]], _WIDE),
    ("below_epsilon", "below it there is no gradient", [[1.0, 2.0]], [[1e-9, 1.0]], _WIDE),
    ("large", "only the ratio counts", [[1000.0, 20000.0]], [[1100.0, 10000.0]]),
    ("counts", "integer counts", np.array([[0, 3, 10]]), [[1.0, 2.5, 14.0]]),
    ("nearly_equal", "logarithms that cancel", [[1000.0, 2.0]], [[1000.001, 2.00001]], _WIDE),
    ("rises_and_falls", "an overestimate costs less", [[10.0, 10.0]], [[15.0, 5.0]]),
)  # fmt: skip

_HUBER = _regression(
    "Huber",
    ("at_delta", "|e| = delta takes the quadratic branch", [[0.0, 0.0]], [[1.0, -1.0]]),
    ("inside", "quadratic", [[0.0, 0.0]], [[0.5, -0.25]]),
    ("outside", "linear, slope delta", [[0.0, 0.0]], [[2.0, -4.0]]),
    ("around_delta", "both sides of the corner", [[0.0, 0.0, 0.0, 0.0]], [[0.875, 1.125, -0.875, -1.125]]),
    ("delta_small", "a corner at 0.1", [[0.0, 0.0]], [[0.05, 0.5]], {"delta": 0.1}),
    ("delta_large", "a corner at 2.5: 0.5 e^2 up to there", [[0.0, 0.0]], [[2.0, 4.0]], {"delta": 2.5}),
    ("at_small_delta", "an exact hit on a corner that is no power of two", [[0.0]], [[0.375]], {"delta": 0.375}),
    ("delta_thousand", "a delta whose square is no float16", [[0.0, 0.0]], [[3.0, -2.0]], {"delta": 1000.0}),
    ("delta_infinite", "no linear branch at all", [[0.0, 0.0]], [[3.0, -2.0]], {"delta": INF}),
    ("delta_zero", "delta = 0 is no loss", [[0.0, 1.0]], [[0.5, 0.5]], {"delta": 0.0, "expected_error": "delta"}),
    ("delta_negative", "nor a negative one", [[0.0, 1.0]], [[0.5, 0.5]], {"delta": -1.0, "expected_error": "delta"}),
    ("far_out", "the unused square overflows float32, its gradient must not", [[0.0, 0.0]], [[1e25, -1e25]], {"dtypes": ("float32",)}),
    ("half_far_out", "the unused square overflows float16", [[0.0, 0.0]], [[300.0, 1.0]], {"dtypes": ("float16",)}),
    ("half_overflow_linear", "delta and error above 256: their squares are no float16", [[0.0, 0.0, 0.0, 0.0]], [[310.0, 1.0, 1.0, 1.0]], {"delta": 300.0, "dtypes": ("float16",)}),
    ("per_row_mixed", "quadratic rows beside linear ones", [[0.0, 0.0], [0.0, 0.0]], [[0.25, 0.5], [3.0, 5.0]]),
)  # fmt: skip

_LOG_COSH = _regression(
    "LogCosh",
    ("near_zero", "e^2 / 2", [[0.0, 0.0]], [[0.01, -0.02]]),
    ("cancelling", "log 2 must cancel exactly: e of 1e-4", [[0.0, 0.0]], [[1e-4, -3e-4]], _WIDE),
    ("cancelling_tiny", "e of 1e-9", [[0.0, 0.0]], [[1e-9, -2e-9]], _WIDE),
    ("one", "where the two forms meet", [[0.0, 0.0]], [[1.0, -1.0]]),
    ("around_one", "on both sides of it", [[0.0, 0.0]], [[0.96875, -1.03125]]),
    ("moderate", "neither near nor far", [[0.0, 0.0]], [[2.0, -3.0]]),
    ("far", "|e| - log 2", [[0.0, 0.0]], [[20.0, -20.0]]),
    ("beyond_exp", "cosh would overflow", [[0.0, 0.0]], [[100.0, -200.0]]),
    ("far_negative", "a negative e takes the other arm of softplus", [[0.0, 0.0]], [[-1000.0, -30.0]]),
    ("log_two", "log 2 in double", [[0.0]], [[40.0]], {"dtypes": ("float64",)}),
    ("even", "e and -e cost the same", [[1.0, -1.0]], [[2.5, -2.5]]),
)  # fmt: skip

_COSINE = table(
    "CosineSimilarity",
    *shapes(real, real),
    ("documented", "the example of Keras's page", [[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]]),
    ("same_direction", "-1", [[1.0, 2.0]], [[2.0, 4.0]]),
    ("opposite", "1", [[1.0, 2.0]], [[-1.0, -2.0]]),
    ("orthogonal", "0, with a gradient", [[1.0, 0.0]], [[0.0, 2.0]]),
    ("scaled", "only the direction counts", [[3.0, 4.0]], [[30.0, 4.0]]),
    ("per_row", "rows of different angle", [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
    ("y_true_zero", "a zero truth gives 0 and no gradient", [[0.0, 0.0]], [[1.0, 2.0]]),
    ("y_pred_zero", "a zero prediction gives 0; its gradient is -1e7 u(y_true)", [[1.0, 2.0]], [[0.0, 0.0]]),
    ("both_zero", "nothing against nothing", [[0.0, 0.0]], [[0.0, 0.0]]),
    ("zero_among_rows", "one zero row must not spoil the others", [[1.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [2.0, 1.0]]),
    ("tiny", "norms of 1e-9 are below the floor of 1e-7", [[1.0, 2.0]], [[1e-9, 2e-9]], _WIDE),
    ("tiny_truth", "also in the labels", [[1e-9, 2e-9]], [[1.0, 2.0]], _WIDE),
    ("above_floor", "norms of 1e-6", [[1.0, 2.0]], [[1e-6, 2e-6]], _WIDE),
    ("below_floor", "half the floor: half the cosine", [[1.0, 0.0]], [[5e-8, 0.0]], _WIDE),
    ("small", "1e-5, squares still normal", [[1.0, 2.0]], [[1e-5, 2e-5]], _WIDE),
    ("underflow", "1e-25: the square is 0 in float32", [[1.0, 2.0]], [[1e-25, 2e-25]], _WIDE),
    ("overflow", "1e25: the square is infinite in float32", [[1.0, 2.0]], [[1e25, 2e25]], _WIDE),
    ("overflow_truth", "also in the labels", [[1e25, 2e25]], [[1.0, 2.0]], _WIDE),
    ("half_overflow", "300: the square is infinite in float16", [[1.0, 2.0]], [[300.0, 400.0]]),
    ("half_underflow", "1e-4: the square is 0 in float16", [[1.0, 2.0]], [[1e-4, 2e-4]]),
    ("nearly_parallel", "the gradient cancels to a small vector", [[1.0, 2.0]], [[1.0, 2.0009765625]], _WIDE),
    ("one_feature", "in one dimension the sign is all there is", [[1.0], [2.0], [-1.0]], [[3.0], [-1.0], [-2.0]]),
    ("axis_0", "vectors along the batch axis", real(301, 3, 4), real(302, 3, 4), {"axis": 0}),
    ("axis_1", "vectors along the middle axis", real(303, 2, 3, 4), real(304, 2, 3, 4), {"axis": 1}),
    ("axis_last_positive", "the last axis by its positive name", real(305, 2, 3), real(306, 2, 3), {"axis": 1}),
    ("axis_minus_2", "the middle axis from the end", real(307, 2, 3, 4), real(308, 2, 3, 4), {"axis": -2}),
    ("axis_out_of_range", "there is no axis 5", real(309, 2, 3), real(310, 2, 3), {"axis": 5, "expected_error": "axis"}),
    ("integer_labels", "integers are values here", np.array([[1, 2], [3, 4]]), [[1.5, 2.5], [2.0, -4.0]]),
    ("large_labels", "integers beyond float16's exact ones", np.array([[2049, 4097]]), [[1.0, 2.0]]),
    ("boolean_labels", "0 and 1 from a comparison", np.array([[True, False]]), [[0.75, 0.25]]),
    ("negative_zero", "the sign of zero must not matter", [[-0.0, 1.0]], [[0.0, 1.0]]),
    ("nan_prediction", "NaN must not vanish", [[0.0, 1.0], [0.0, 1.0]], [[NAN, 1.0], [0.5, 1.0]]),
    ("nan_label", "nor in the labels", [[NAN, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.5, 1.0]]),
    ("broadcast_column", "one label for all outputs of a row", [[1.0], [2.0]], [[1.0, 2.0, 3.0], [1.0, -2.0, 4.0]]),
    ("swapped_matters", "the gradient is that of y_pred", [[1.0, 0.0]], [[1.0, 3.0]]),
    ("sweep", "magnitudes from 1e-3 to 1e3", magnitudes(311, 6, 4, low=-3, high=3), magnitudes(312, 6, 4, low=-3, high=3), _WIDE),
)  # fmt: skip

HANDWRITTEN = {
    "MeanSquaredError": _regression("MeanSquaredError"),
    "MeanAbsoluteError": _regression("MeanAbsoluteError"),
    "MeanAbsolutePercentageError": _MAPE,
    "MeanSquaredLogarithmicError": _MSLE,
    "Huber": _HUBER,
    "LogCosh": _LOG_COSH,
    "CosineSimilarity": _COSINE,
}

_BATCH = (real(201, 3, 2, 4), real(202, 3, 2, 4))
REDUCTION_BATCHES = dict.fromkeys(HANDWRITTEN, _BATCH)

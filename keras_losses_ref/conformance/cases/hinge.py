"""Cases of the maximum-margin losses."""

import numpy as np

from keras_losses_ref.conformance.cases.case import (
    INF,
    NAN,
    draws,
    magnitudes,
    one_hot,
    real,
    shapes,
    table,
)


def _signs(seed, *shape):
    return np.where(draws(seed, *shape) < 0.5, -1.0, 1.0)


def _hinge(loss):
    wide = {"dtypes": ("float32", "float64")}
    return table(
        loss,
        *shapes(_signs, real),
        ("documented", "the example of Keras's page: 0 and 1 become -1 and 1", [[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]]),
        ("signed", "labels that are -1 and 1 already", [[-1.0, 1.0]], [[0.6, 0.4]]),
        ("minus_one_and_zero", "a 0 among -1s stays 0", [[-1.0, 0.0]], [[0.6, 0.4]]),
        ("whole_batch_decides", "one -1 in row 2 keeps the zeros of row 1", [[0.0, 1.0], [-1.0, 1.0]], [[0.6, 0.4], [0.4, 0.6]]),
        ("binary_in_every_row", "two rows of 0 and 1 are converted", [[0.0, 1.0], [1.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]]),
        ("only_ones", "a batch of 1s is the same either way", [[1.0, 1.0]], [[0.6, -0.4]]),
        ("only_zeros", "a batch of 0s becomes -1s", [[0.0, 0.0]], [[0.6, -0.4]]),
        ("half_label", "0.5 in the batch: nothing is converted", [[0.0, 0.5, 1.0]], [[0.6, -0.4, 0.2]]),
        ("two_label", "a label of 2 is arithmetic", [[2.0, 1.0]], [[0.25, 0.5]]),
        ("negative_zero_label", "-0 is 0: converted", [[-0.0, 1.0]], [[0.6, 0.4]]),
        ("integer_labels", "0 and 1 as integers", np.array([[0, 1], [1, 0]]), [[0.6, 0.4], [0.4, 0.6]]),
        ("integer_signs", "-1 and 1 as integers", np.array([[-1, 1], [1, -1]]), [[0.6, 0.4], [0.4, 0.6]]),
        ("boolean_labels", "0 and 1 as booleans", np.array([[False, True]]), [[0.6, 0.4]]),
        ("at_margin", "y p = 1: no loss; the gate of the kink passes", [[1.0, -1.0]], [[1.0, -1.0]]),
        ("beyond_margin", "right by more than 1: nothing", [[1.0, -1.0]], [[1.5, -3.0]]),
        ("just_inside", "a little short of the margin", [[1.0, -1.0]], [[0.9375, -0.96875]]),
        ("at_zero", "no decision costs 1", [[1.0, -1.0]], [[0.0, -0.0]]),
        ("wrong_side", "the loss grows with the distance", [[1.0, -1.0]], [[-2.0, 3.0]]),
        ("per_row", "rows of different loss: a mean over the wrong axis shows", [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]], [[0.5, 0.25, 0.0], [-1.0, -2.0, -3.0]]),
        ("asymmetric", "the sign of the label counts", [[1.0, -1.0]], [[0.5, 0.25]]),
        ("swapped_matters", "y_true and y_pred are not alike", [[1.0, 1.0]], [[0.0, 1.0]]),
        ("large", "scores of a thousand", [[1.0, -1.0]], [[-1000.0, 1000.0]], wide),
        ("half_overflow", "a square beyond 65504, a mean below it", [[1.0, 1.0]], [[-300.0, 1.0]], {"dtypes": ("float16",)}),
        ("nan_prediction", "NaN must not vanish", [[1.0, -1.0], [1.0, -1.0]], [[NAN, 0.5], [0.5, 0.5]]),
        ("nan_label", "nor in the labels", [[NAN, -1.0], [1.0, -1.0]], [[0.5, 0.5], [0.5, 0.5]]),
        ("infinite_right", "infinitely right costs nothing", [[1.0, -1.0]], [[INF, 0.5]]),
        ("infinite_wrong", "infinitely wrong costs infinitely", [[1.0, -1.0]], [[-INF, 0.5]]),
        ("broadcast_column", "one label for all outputs of a row", [[1.0], [-1.0]], [[0.5, 0.25, 2.0], [0.5, -0.25, 1.0]]),
        ("sweep", "magnitudes from 1e-6 to 1e4", _signs(321, 6, 4), magnitudes(322, 6, 4, low=-6, high=4), wide),
    )  # fmt: skip


_CATEGORICAL = table(
    "CategoricalHinge",
    *(row for row in shapes(one_hot, real) if "column" not in row[0] and "trailing" not in row[0]),
    ("documented", "the example of Keras's page", [[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]]),
    ("two_classes", "the smallest problem", one_hot(331, 5, 2), real(332, 5, 2)),
    ("many_classes", "the best of 257", one_hot(333, 2, 257), real(334, 2, 257)),
    ("best_wrong", "only the best wrong class counts", [[1.0, 0.0, 0.0]], [[0.5, 0.25, 0.75]]),
    ("right_by_one", "a lead of exactly 1: no loss, and the gate passes", [[1.0, 0.0]], [[1.5, 0.5]]),
    ("right_by_more", "a lead above 1: nothing", [[1.0, 0.0]], [[3.0, 0.5]]),
    ("right_by_less", "a lead below 1", [[1.0, 0.0]], [[1.0, 0.5]]),
    ("wrong", "the wrong class leads", [[1.0, 0.0]], [[-1.0, 2.0]]),
    ("tied", "two wrong classes share the gradient", [[1.0, 0.0, 0.0]], [[0.25, 0.5, 0.5]]),
    ("tied_with_true", "the true class takes part in the maximum as 0", [[1.0, 0.0, 0.0]], [[0.5, 0.0, -1.0]]),
    ("others_negative", "negative scores of the others do not count", [[1.0, 0.0, 0.0]], [[0.5, -2.0, -1.0]]),
    ("all_negative", "all scores below 0", [[0.0, 1.0, 0.0]], [[-0.5, -2.0, -1.0]]),
    ("all_zero", "no decision costs 1", [[0.0, 1.0, 0.0]], [[0.0, 0.0, 0.0]]),
    ("all_equal", "equal scores cost 1", [[0.0, 1.0, 0.0]], [[2.0, 2.0, 2.0]]),
    ("no_label", "a row without a label: the best score and 1", [[0.0, 0.0, 0.0]], [[0.5, 0.25, -1.0]]),
    ("two_labels", "two true classes add up", [[1.0, 1.0, 0.0]], [[0.5, 0.25, 0.75]]),
    ("soft_labels", "labels between 0 and 1", [[0.25, 0.75]], [[1.0, 0.5]]),
    ("signed_labels", "-1 is not 0 here: 1 - y is 2", [[-1.0, 1.0]], [[1.0, 0.5]]),
    ("label_two", "a label of 2 is arithmetic", [[2.0, 0.0]], [[0.25, 0.5]]),
    ("not_converted", "0 and 1 are not made -1 and 1", [[0.0, 1.0]], [[0.5, 0.25]]),
    ("integer_labels", "one-hot rows of integers", np.array([[0, 1, 0], [1, 0, 0]]), [[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]),
    ("boolean_labels", "one-hot rows of booleans", np.array([[False, True]]), [[0.2, 0.7]]),
    ("per_row", "rows of different loss", [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], [[0.0, 0.5], [2.0, 1.0], [-3.0, 1.0]]),
    ("swapped_matters", "y_true and y_pred are not alike", [[1.0, 0.0]], [[0.25, 0.75]]),
    ("one_class", "a single class can only be right", [[1.0], [1.0]], [[0.25], [-2.0]]),
    ("nan_prediction", "NaN must not vanish", [[1.0, 0.0], [1.0, 0.0]], [[NAN, 0.5], [0.5, 0.5]]),
    ("nan_label", "nor in the labels", [[NAN, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]]),
    ("infinite_prediction", "0 times infinity is NaN, as in Keras", [[1.0, 0.0]], [[INF, 0.5]]),
    ("large", "scores of a thousand", [[1.0, 0.0]], [[-1000.0, 1000.0]]),
    ("cancelling", "large scores that differ by less than 1", [[1.0, 0.0]], [[1000.5, 1000.25]], {"dtypes": ("float32", "float64")}),
    ("broadcast_column", "one label for all classes of a row", [[1.0], [0.0]], [[0.5, 0.25, 2.0], [0.5, -0.25, 1.0]]),
    ("nan_under_zero_weight", "0 * NaN is NaN, as in Keras", [[1.0, 0.0], [0.0, 1.0]], [[NAN, 0.0], [0.5, 0.5]], {"sample_weight": [0.0, 1.0], "paths": ("eager", "graph")}),
    ("sweep", "magnitudes from 1e-6 to 1e4", one_hot(335, 6, 4), magnitudes(336, 6, 4, low=-6, high=4), {"dtypes": ("float32", "float64")}),
)  # fmt: skip

HANDWRITTEN = {
    "Hinge": _hinge("Hinge"),
    "SquaredHinge": _hinge("SquaredHinge"),
    "CategoricalHinge": _CATEGORICAL,
}

REDUCTION_BATCHES = {
    "Hinge": (_signs(337, 3, 2, 4), real(338, 3, 2, 4)),
    "SquaredHinge": (_signs(337, 3, 2, 4), real(338, 3, 2, 4)),
    "CategoricalHinge": (one_hot(339, 3, 2, 4), real(340, 3, 2, 4)),
}

"""Cases of the losses for sequences whose alignment is unknown."""

import numpy as np

from keras_losses_ref.conformance.cases.case import NAN, logits, magnitudes, table


def _z(*shape):
    return np.zeros(shape)


def _i(*rows):
    return np.array(rows, np.int64)


#: Logits of one row of 3 steps over blank, 1 and 2.
_STEPS = [[[2.0, 0.5, -1.0], [-0.5, 1.5, 0.25], [0.0, -1.0, 1.0]]]

_CTC = table(
    "CTC",
    ("documented", "two steps, one label: three of four paths", _i([1]), _z(1, 2, 2)),
    ("two_labels", "a label each", _i([1, 2]), _STEPS),
    ("other_order", "the order of the labels counts", _i([2, 1]), _STEPS),
    ("one_label", "one label in three steps", _i([2, 0]), _STEPS),
    ("typical", "a batch of four", _i([1, 2, 3], [3, 1, 0], [2, 2, 0], [4, 0, 0]), logits(431, 4, 8, 5)),
    ("one_step", "one label, one step", _i([1]), [[[0.5, 1.5, -1.0]]]),
    ("exact_fit", "as many steps as labels: one path", _i([1, 2, 1]), _STEPS),
    ("repeat", "a repeat needs a blank between: four steps, a few paths", _i([1, 1]), logits(433, 1, 4, 3)),
    ("repeat_exact_fit", "two alike in three steps: one path", _i([1, 1]), _STEPS),
    ("repeat_in_middle", "1, 2, 2, 1", _i([1, 2, 2, 1]), logits(435, 1, 7, 3)),
    ("repeat_thrice", "1, 1, 1 in five steps: one path", _i([1, 1, 1]), logits(437, 1, 5, 3)),
    ("alternating", "1, 2, 1, 2 needs no blank", _i([1, 2, 1, 2]), logits(439, 1, 4, 3)),
    ("empty_label", "no label: only the path of blanks", _i([0, 0]), _STEPS),
    ("empty_among_others", "an empty label beside a full one", _i([0, 0], [1, 2]), logits(441, 2, 4, 3)),
    ("all_empty", "no labels anywhere", _i([0], [0]), logits(443, 2, 3, 3)),
    ("too_long", "three labels in two steps: impossible", _i([1, 2, 1]), logits(445, 1, 2, 3)),
    ("too_long_by_repeat", "1, 1 in two steps: no room for the blank", _i([1, 1]), logits(447, 1, 2, 3)),
    ("too_long_among_others", "an impossible row beside possible ones", _i([1, 2, 1], [1, 0, 0]), logits(449, 2, 2, 3)),
    ("padding", "padding is no label", _i([1, 2, 0, 0, 0]), logits(451, 1, 4, 3)),
    ("padding_beyond_time", "more padding than steps", _i([1, 0, 0, 0, 0, 0]), logits(451, 1, 4, 3)),
    ("no_padding", "the same label without padding", _i([1, 2]), logits(451, 1, 4, 3)),
    ("blank_likely", "blank is class 0: a blank everywhere", _i([1]), [[[5.0, 0.0, 0.0], [5.0, 0.0, 0.0], [5.0, 0.0, 0.0]]]),
    ("last_class_is_no_blank", "the last class is a label", _i([2]), [[[0.0, 0.0, 5.0], [5.0, 0.0, 0.0]]]),
    ("first_and_last_state", "a path may start and end with or without a blank", _i([1]), [[[0.0, 5.0], [0.0, 5.0], [0.0, 5.0]]]),
    ("certain_right", "one path has all probability", _i([1, 2]), [[[-20.0, 20.0, -20.0], [20.0, -20.0, -20.0], [-20.0, -20.0, 20.0]]]),
    ("certain_wrong", "the label has next to none", _i([2, 1]), [[[-20.0, 20.0, -20.0], [20.0, -20.0, -20.0], [-20.0, -20.0, 20.0]]]),
    ("uniform", "all paths alike", _i([1, 2]), _z(1, 4, 3)),
    ("shifted", "a constant added to a step changes nothing", _i([1, 2]), np.array(_STEPS) + 100.0),
    ("huge", "e^x would overflow", _i([1]), [[[-1000.0, 1000.0], [1000.0, -1000.0]]]),
    ("long", "24 steps, 8 labels", _i([1, 2, 3, 4, 1, 2, 3, 4]), logits(453, 1, 24, 5)),
    ("many_classes", "300 classes: 257 is no bfloat16", _i([257, 259]), logits(455, 1, 4, 300)),
    ("two_classes", "blank and one label", _i([1, 1], [1, 0]), logits(457, 2, 4, 2)),
    ("float_labels", "labels stored as floats", [[1.0, 2.0]], _STEPS),
    ("batch_of_unlike", "a mean over the wrong axis shows", _i([1, 2], [2, 2], [1, 0]), logits(459, 3, 5, 3)),
    ("gradient_is_a_difference", "softmax minus the paths' share", _i([1]), logits(461, 1, 3, 3)),
    ("weighted", "a weight for each row", _i([1, 2], [2, 2], [1, 0]), logits(459, 3, 5, 3), {"sample_weight": [0.5, 0.0, 2.0]}),
    ("weighted_column", "a weight of shape (N, 1)", _i([1, 2], [2, 2], [1, 0]), logits(459, 3, 5, 3), {"sample_weight": [[0.5], [0.0], [2.0]]}),
    ("nan_logit", "NaN must not vanish", _i([1], [1]), [[[NAN, 0.5], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]]),
    ("zero_inside", "a blank before a label is refused", _i([1, 0, 2]), logits(463, 1, 5, 3), {"expected_error": "padding", "paths": ("eager",)}),
    ("label_too_high", "class 3 of 3 is refused", _i([1, 3]), _STEPS, {"expected_error": "classes", "paths": ("eager",)}),
    ("label_negative", "class -1 too", _i([1, -1]), _STEPS, {"expected_error": "classes", "paths": ("eager",)}),
    ("labels_of_rank_1", "one row of labels is no batch", np.array([1, 2]), _STEPS, {"expected_error": "one row of labels"}),
    ("logits_of_rank_2", "one row of steps is no batch", _i([1, 2]), _STEPS[0], {"expected_error": "one row of labels"}),
    ("second_order", "the second derivative, along one direction", _i([2, 2]), logits(467, 1, 4, 3), {"check_hessian": True, "dtypes": ("float64",), "paths": ("eager",)}),
    ("sweep", "logits of magnitude 1e-3 to 1e2", _i([1, 2], [2, 1], [3, 3]), magnitudes(465, 3, 6, 4, low=-3, high=2), {"dtypes": ("float32", "float64")}),
)  # fmt: skip

HANDWRITTEN = {"CTC": _CTC}

REDUCTION_BATCHES = {"CTC": (_i([1, 2], [2, 2], [1, 0]), logits(467, 3, 4, 3))}

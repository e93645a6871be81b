"""Cases of the overlap losses for masks."""

import numpy as np

from keras_losses_ref.conformance.cases.case import NAN, bits, draws, table, unit

_WIDE = {"dtypes": ("float32", "float64")}


def _overlap(loss, *more):
    """Rows that Dice and Tversky share, and `more`."""
    return table(
        loss,
        ("documented", "the example of Keras's page", [[[[1.0], [1.0]], [[0.0], [0.0]]], [[[1.0], [1.0]], [[0.0], [0.0]]]], [[[[0.0], [1.0]], [[0.0], [1.0]]], [[[0.4], [0.0]], [[0.0], [0.9]]]], {"axis": (1, 2, 3)}),
        ("rank_1", "one mask", bits(351, 5), unit(352, 5)),
        ("rank_2", "axis=None: the batch is one large mask", bits(353, 4, 3), unit(354, 4, 3)),
        ("rank_3", "three axes in one", bits(355, 2, 3, 4), unit(356, 2, 3, 4)),
        ("rank_4", "a batch of images in one", bits(357, 2, 2, 3, 3), unit(358, 2, 2, 3, 3)),
        ("per_sample", "a loss for each image", bits(357, 2, 2, 3, 3), unit(358, 2, 2, 3, 3), {"axis": (1, 2, 3)}),
        ("per_class", "a loss for each channel", bits(359, 2, 2, 3, 3), unit(360, 2, 2, 3, 3), {"axis": (0, 1, 2)}),
        ("per_sample_and_class", "a loss for each channel of each image", bits(361, 2, 2, 3, 3), unit(362, 2, 2, 3, 3), {"axis": (1, 2)}),
        ("axis_last", "the last axis alone", bits(363, 4, 3), unit(364, 4, 3), {"axis": -1}),
        ("axis_0", "the batch axis alone", bits(365, 4, 3), unit(366, 4, 3), {"axis": 0}),
        ("axis_list", "axes as a list", bits(367, 2, 3, 4), unit(368, 2, 3, 4), {"axis": [1, 2]}),
        ("axis_negative", "axes from the end", bits(369, 2, 3, 4), unit(370, 2, 3, 4), {"axis": (-2, -1)}),
        ("axis_out_of_range", "there is no axis 5", bits(371, 2, 3), unit(372, 2, 3), {"axis": 5, "expected_error": "axis"}),
        ("none_is_no_mean", "samples of unequal size: axis=None is not the mean over samples", [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]], [[0.9, 0.9, 0.9, 0.9], [0.1, 0.0, 0.0, 0.0]]),
        ("mean_of_samples", "the same per sample", [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]], [[0.9, 0.9, 0.9, 0.9], [0.1, 0.0, 0.0, 0.0]], {"axis": -1}),
        ("perfect", "full overlap: no loss but epsilon", [[0.0, 1.0, 1.0]], [[0.0, 1.0, 1.0]]),
        ("disjoint", "no overlap: 1", [[0.0, 1.0]], [[1.0, 0.0]]),
        ("half_overlap", "half of it", [[1.0, 1.0, 0.0]], [[1.0, 0.0, 1.0]]),
        ("both_empty", "two empty masks give 1", [[0.0, 0.0]], [[0.0, 0.0]]),
        ("truth_empty", "nothing to find", [[0.0, 0.0]], [[0.5, 0.25]]),
        ("prediction_empty", "nothing found", [[1.0, 0.0]], [[0.0, 0.0]]),
        ("empty_sample", "one empty sample among others", [[0.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.75, 0.25]], {"axis": -1}),
        ("nearly_empty", "sums of the size of epsilon", [[0.0, 0.0]], [[1e-7, 2e-7]], _WIDE),
        ("nearly_perfect", "1 minus nearly 1", [[0.0, 1.0, 1.0]], [[0.0, 0.9990234375, 1.0]]),
        ("nearly_perfect_wide", "the loss is far below the terms", [[0.0, 1.0, 1.0]], [[1e-6, 0.999999, 1.0]], _WIDE),
        ("all_ones", "everything is foreground", [[1.0, 1.0]], [[1.0, 1.0]]),
        ("soft_labels", "masks between 0 and 1", [[0.25, 0.75], [0.5, 0.0]], [[0.5, 0.5], [0.25, 0.125]]),
        ("asymmetric", "false positives only", [[1.0, 0.0, 0.0]], [[1.0, 0.5, 0.25]]),
        ("missed", "false negatives only", [[1.0, 1.0, 1.0]], [[1.0, 0.5, 0.25]]),
        ("swapped_matters", "the gradient is that of y_pred", [[1.0, 0.0]], [[0.75, 0.5]]),
        ("outside", "beyond [0, 1] it is arithmetic", [[1.0, 0.0]], [[1.5, -0.25]]),
        ("integer_labels", "0 and 1 as integers", np.array([[0, 1], [1, 0]]), [[0.25, 0.75], [0.5, 0.5]]),
        ("boolean_labels", "0 and 1 as booleans", np.array([[False, True]]), [[0.25, 0.75]]),
        ("vector_against_column", "(N,) against (N, 1) is N values, never (N, N)", bits(373, 5), unit(374, 5, 1)),
        ("column_against_vector", "(N, 1) against (N,) too", bits(375, 5, 1), unit(376, 5)),
        ("trailing_one", "masks without a channel axis", bits(377, 2, 3), unit(378, 2, 3, 1)),
        ("shapes_differ", "a mask is not stretched", bits(379, 3), unit(380, 2, 2), {"expected_error": "cannot be aligned"}),
        ("broadcast_refused", "one column would count once in the size", bits(381, 2, 1), unit(382, 2, 3), {"expected_error": "cannot be aligned"}),
        ("one_sample", "a batch of one", bits(383, 1, 4), unit(384, 1, 4)),
        ("empty_batch", "no sample at all", bits(385, 0, 3), unit(386, 0, 3), {"axis": -1}),
        ("large_mask", "4,096 pixels: float16 sums lose their ones", bits(387, 64, 64), unit(388, 64, 64)),
        ("half_size_overflow", "300 x 300: the size overflows float16", np.ones((300, 300)), np.full((300, 300), 0.75), {"dtypes": ("float16",)}),
        ("weighted_samples", "a weight for each sample", bits(389, 3, 4), unit(390, 3, 4), {"axis": -1, "sample_weight": [0.5, 0.0, 2.0]}),
        ("scalar_loss_scalar_weight", "axis=None under a number", bits(391, 3, 4), unit(392, 3, 4), {"sample_weight": 2.5}),
        ("scalar_loss_sample_weights", "axis=None under one weight a sample: the mean weight", bits(391, 3, 4), unit(392, 3, 4), {"sample_weight": [0.5, 0.0, 2.0]}),
        ("weighted_classes", "a weight for each channel", bits(393, 2, 2, 3), unit(394, 2, 2, 3), {"axis": (0, 1), "sample_weight": [0.5, 0.0, 2.0]}),
        ("nan_prediction", "NaN must not vanish", [[0.0, 1.0], [0.0, 1.0]], [[NAN, 1.0], [0.5, 1.0]], {"axis": -1}),
        ("nan_spreads", "axis=None: one NaN is all NaN", [[0.0, 1.0], [0.0, 1.0]], [[NAN, 1.0], [0.5, 1.0]]),
        ("sweep", "probabilities from 1e-6 to 1 - 1e-6", bits(395, 6, 4), 1 / (1 + np.exp(draws(396, 6, 4, low=-13.8, high=13.8))), {"axis": -1, **_WIDE}),
        *more,
    )  # fmt: skip


_TVERSKY = _overlap(
    "Tversky",
    ("alpha_weighs_false_positives", "alpha = 1, beta = 0: misses are free", [[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.25, 0.5, 0.0]], {"alpha": 1.0, "beta": 0.0}),
    ("beta_weighs_false_negatives", "alpha = 0, beta = 1: false alarms are free", [[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.25, 0.5, 0.0]], {"alpha": 0.0, "beta": 1.0}),
    ("recall_first", "alpha 0.2, beta 0.8, as in the paper", bits(401, 4, 3), unit(402, 4, 3), {"alpha": 0.2, "beta": 0.8}),
    ("precision_first", "alpha 0.7, beta 0.3 per sample", bits(403, 4, 3), unit(404, 4, 3), {"alpha": 0.7, "beta": 0.3, "axis": -1}),
    ("jaccard", "alpha = beta = 1 is the Jaccard index", bits(405, 4, 3), unit(406, 4, 3), {"alpha": 1.0, "beta": 1.0}),
    ("alpha_beta_zero", "nothing is punished: only epsilon is left", [[1.0, 0.0]], [[0.5, 0.5]], {"alpha": 0.0, "beta": 0.0}),
    ("alpha_beta_large", "weights above 1", [[1.0, 0.0]], [[0.5, 0.25]], {"alpha": 3.0, "beta": 5.0}),
    ("alpha_given_alone", "beta keeps its 0.5", [[1.0, 1.0, 0.0]], [[0.5, 1.0, 0.25]], {"alpha": 0.9}),
    ("beta_given_alone", "alpha keeps its 0.5", [[1.0, 1.0, 0.0]], [[0.5, 1.0, 0.25]], {"beta": 0.9}),
    ("equal_is_dice", "alpha = beta = 0.5 is Dice", [[1.0, 1.0, 0.0]], [[0.5, 1.0, 0.25]], {"alpha": 0.5, "beta": 0.5}),
    ("swapped_weights_and_sample_weight", "alpha != beta under weights", bits(407, 3, 4), unit(408, 3, 4), {"alpha": 0.3, "beta": 0.7, "axis": -1, "sample_weight": [0.5, 0.0, 2.0]}),
)  # fmt: skip

HANDWRITTEN = {"Dice": _overlap("Dice"), "Tversky": _TVERSKY}

REDUCTION_BATCHES = {
    "Dice": (bits(409, 3, 2, 4), unit(410, 3, 2, 4), {"axis": -1}),
    "Tversky": (bits(409, 3, 2, 4), unit(410, 3, 2, 4), {"axis": -1}),
}

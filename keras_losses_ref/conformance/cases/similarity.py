"""Cases of the losses over all pairs of a batch."""

import numpy as np

from keras_losses_ref.conformance.cases.case import NAN, real, table

_WIDE = {"dtypes": ("float32", "float64")}


def _normal(seed, *shape):
    """Rows of norm 1."""
    x = real(seed, *shape)
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True))


def _near(seed, *shape, angle=0.01):
    """Rows of norm 1 that are all close to the first one."""
    x = _normal(seed, *shape)
    x = x[:1] + angle * x
    return x / np.sqrt(np.sum(x * x, -1, keepdims=True))


_PAIRS = np.array([0, 0, 1, 1])
_CORNERS = [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]]

_CIRCLE = table(
    "Circle",
    ("documented", "three embeddings of two labels", np.array([0, 0, 1]), [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]),
    ("pairs", "two pairs", _PAIRS, _CORNERS),
    ("typical", "eight embeddings of three labels", np.array([0, 1, 2, 0, 1, 2, 0, 1]), _normal(421, 8, 4)),
    ("column", "labels of shape (N, 1)", _PAIRS[:, None], _CORNERS),
    ("float_labels", "labels stored as floats", [0.0, 0.0, 1.0, 1.0], _CORNERS),
    ("negative_labels", "labels are names: -1 is one", np.array([-1, -1, 5, 5]), _CORNERS),
    ("large_labels", "257 and 258 are one bfloat16", np.array([257, 257, 258, 258]), _CORNERS),
    ("larger_labels", "2048 and 2049 are one float16", np.array([2048, 2048, 2049, 2049]), _CORNERS),
    ("largest_labels", "2^24 and 2^24 + 1 are one float32", np.array([2**24, 2**24, 2**24 + 1, 2**24 + 1]), _CORNERS),
    ("no_positive", "every label is its own: nothing to pull, no loss", np.array([0, 1, 2, 3]), _CORNERS),
    ("no_negative", "one label for all: nothing to push, no loss", np.array([0, 0, 0, 0]), _CORNERS),
    ("one_without_positive", "the third has no partner and counts in no mean", np.array([0, 0, 1]), [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]),
    ("single_row", "a batch of one has no pair", np.array([0]), [[1.0, 0.0]]),
    ("two_rows_alike", "one pair of the same label", np.array([0, 0]), [[1.0, 0.0], [0.6, 0.8]]),
    ("two_rows_apart", "one pair of different labels", np.array([0, 1]), [[1.0, 0.0], [0.6, 0.8]]),
    ("keep_diagonal", "each embedding is its own positive", _PAIRS, _CORNERS, {"remove_diagonal": False}),
    ("keep_diagonal_alone", "then a batch without pairs has a loss", np.array([0, 1, 2, 3]), _CORNERS, {"remove_diagonal": False}),
    ("identical", "all embeddings in one point", _PAIRS, [[1.0, 0.0]] * 4),
    ("identical_positives", "each pair in one point", _PAIRS, [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
    ("identical_negatives", "a negative in the same point", np.array([0, 1, 0, 1]), [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
    ("opposite_negatives", "negatives as far as can be", np.array([0, 0, 1, 1]), [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]),
    ("opposite_positives", "positives as far as can be", np.array([0, 1, 0, 1]), [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]]),
    ("orthogonal", "all distances 1", np.array([0, 0, 1, 1]), np.eye(4)),
    ("cluster", "distances that cancel: a tight cluster", _PAIRS, _near(422, 4, 3), _WIDE),
    ("tight_cluster", "tighter: 1 - cos is 1e-8", _PAIRS, _near(423, 4, 3, angle=1e-4), _WIDE),
    ("not_normal", "embeddings longer than 1: the distance stops at 0", _PAIRS, [[2.0, 0.0], [1.2, 1.6], [0.0, 2.0], [-1.2, 1.6]]),
    ("short", "embeddings shorter than 1", _PAIRS, [[0.5, 0.0], [0.3, 0.4], [0.0, 0.5], [-0.3, 0.4]]),
    ("zero_embedding", "a zero vector is at distance 1 from all", _PAIRS, [[0.0, 0.0], [0.6, 0.8], [0.0, 1.0], [1.0, 0.0]]),
    ("small_loss", "a value that is nearly 0 still counts in the mean", _PAIRS, [[1.0, 0.0], [0.96, 0.28], [-1.0, 0.0], [-0.96, -0.28]], {"gamma": 8.0}),
    ("vanishing_loss", "and one that underflows does not", _PAIRS, [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], {"gamma": 256.0}),
    ("gamma_one", "a soft loss", _PAIRS, _CORNERS, {"gamma": 1.0}),
    ("gamma_eight", "a harder one", _PAIRS, _CORNERS, {"gamma": 8.0}),
    ("gamma_large", "256, as for faces", _PAIRS, _CORNERS, {"gamma": 256.0}),
    ("margin_zero", "no margin", _PAIRS, _CORNERS, {"margin": 0.0}),
    ("margin_quarter", "a margin of 0.25, as in the paper", _PAIRS, _CORNERS, {"margin": 0.25}),
    ("margin_one", "a margin of 1", _PAIRS, _CORNERS, {"margin": 1.0}),
    ("margin_swapped", "margin and 1 - margin are not alike", _PAIRS, _CORNERS, {"margin": 0.75, "gamma": 4.0}),
    ("one_feature", "embeddings of one number", _PAIRS, [[1.0], [1.0], [-1.0], [1.0]]),
    ("many_features", "64 features", np.array([0, 1, 0, 1, 0, 1]), _normal(424, 6, 64)),
    ("weighted", "a weight for each row", _PAIRS, _CORNERS, {"sample_weight": [0.5, 0.0, 2.0, 1.0]}),
    ("weighted_unpaired", "a weight on a row that counts in no mean", np.array([0, 0, 1]), [[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]], {"sample_weight": [1.0, 2.0, 5.0]}),
    ("nan_embedding", "NaN must not vanish", _PAIRS, [[NAN, 0.0], [0.6, 0.8], [0.0, 1.0], [-0.6, 0.8]]),
    ("labels_too_few", "three labels for four rows", np.array([0, 0, 1]), _CORNERS, {"expected_error": "one label for each"}),
    ("rank_3", "embeddings of rank 3 have no pairs", np.array([[0, 1], [0, 1]]), real(425, 2, 2, 3), {"expected_error": "one label for each"}),
    ("sums_over_pairs", "many positives and negatives for one row", np.array([0, 0, 0, 0, 1, 1, 1, 1]), _normal(426, 8, 3), {"gamma": 2.0}),
)  # fmt: skip

HANDWRITTEN = {"Circle": _CIRCLE}

REDUCTION_BATCHES = {
    "Circle": (np.array([0, 0, 1]), [[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
}

"""The corpus: what is asked of every loss. Data, no code paths.

A hand-made case is one line of a table: a name, why it is there, y_true, y_pred and
what else it needs. `corpus` crosses the tables with dtype, reduction, weights, masks
and execution path. Ids are stable, unique and never reused.
"""

import dataclasses
import re
from typing import Any, Dict, Optional, Tuple

import numpy as np

DTYPES = ("float32", "float64", "float16", "bfloat16")
PATHS = ("eager", "graph", "xla", "fit")
DEFAULT = "sum_over_batch_size"


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One question to a loss. Data in float64 or int64; `dtype` is what rounds it."""

    loss: str
    name: str
    why: str
    y_true: Any
    y_pred: Any
    config: Dict[str, Any] = dataclasses.field(default_factory=dict)
    sample_weight: Any = None
    mask: Any = None
    #: An activation between y_pred and the loss, for what a loss recovers from a graph.
    activation: Optional[str] = None
    #: For input that must be refused: a fragment of our message.
    refused: Optional[str] = None
    dtype: str = "float32"
    reduction: Optional[str] = DEFAULT
    path: str = "eager"
    #: Where the question makes sense at all; all dtypes and paths unless named.
    dtypes: Tuple[str, ...] = DTYPES
    paths: Tuple[str, ...] = PATHS

    @property
    def base(self):
        return f"{snake(self.loss)}/{self.name}"

    @property
    def id(self):
        return f"{self.base}[{self.dtype},{self.reduction},{self.path}]"


def snake(name):
    """MeanSquaredError -> mean_squared_error, CTC -> ctc."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def table(loss, *rows):
    """Cases of one loss out of (name, why, y_true, y_pred, {...}) rows."""
    cases = []
    for name, why, y_true, y_pred, *rest in rows:
        extra = rest[0] if rest else {}
        fields = {f.name for f in dataclasses.fields(Case)}
        config = {k: v for k, v in extra.items() if k not in fields}
        options = {k: v for k, v in extra.items() if k in fields}
        case = Case(loss, name, why, _data(y_true), _data(y_pred, float), config)
        cases.append(dataclasses.replace(case, **options))
    return cases


def _data(values, dtype=None):
    array = np.asarray(values)
    if dtype is None and array.dtype.kind in "iub":
        return array.astype(np.int64)
    return array.astype(np.float64)


_nan, _inf = float("nan"), float("inf")


def draws(seed, *shape, low=0.0, high=1.0):
    """Uniform numbers, the same for ever: NumPy keeps the stream of a legacy seed."""
    return np.random.RandomState(seed).uniform(low, high, shape)


def magnitudes(seed, *shape, low, high):
    """Signed numbers whose exponents are spread evenly over [low, high]."""
    state = np.random.RandomState(seed)
    sign = np.where(state.uniform(size=shape) < 0.5, -1.0, 1.0)
    return sign * 10.0 ** state.uniform(low, high, shape)


def _shapes(y_true, y_pred, extra=None):
    """Rows that ask for every rank, for (N,) against (N, 1), and for no sample."""
    extra = extra or {}
    t, p = (lambda seed, *s: y_true(seed, *s)), (lambda seed, *s: y_pred(seed, *s))
    return (
        ("rank_1", "a vector gives one number", t(1, 5), p(2, 5), extra),
        ("rank_2", "the common batch of rows", t(3, 4, 3), p(4, 4, 3), extra),
        ("rank_3", "a batch of sequences", t(5, 2, 3, 4), p(6, 2, 3, 4), extra),
        ("rank_4", "a batch of images", t(7, 2, 2, 3, 3), p(8, 2, 2, 3, 3), extra),
        ("one_sample", "a batch of one", t(9, 1, 3), p(10, 1, 3), extra),
        ("one_output", "a last axis of one", t(11, 6, 1), p(12, 6, 1), extra),
        ("empty_batch", "no sample at all", t(13, 0, 3), p(14, 0, 3), extra),
        (
            "vector_against_column",
            "(N,) against (N, 1) is N values, never (N, N)",
            t(15, 5),
            p(16, 5, 1),
            extra,
        ),
        (
            "column_against_vector",
            "(N, 1) against (N,) is N values, never (N, N)",
            t(17, 5, 1),
            p(18, 5),
            extra,
        ),
        (
            "trailing_one_in_y_true",
            "(N, T, 1) labels against (N, T) predictions",
            t(19, 2, 3, 1),
            p(20, 2, 3),
            extra,
        ),
        (
            "trailing_one_in_y_pred",
            "(N, T) labels against (N, T, 1) predictions",
            t(21, 2, 3),
            p(22, 2, 3, 1),
            extra,
        ),
        ("wide_row", "a mean over 257 outputs", t(23, 2, 257), p(24, 2, 257), extra),
        (
            "shapes_differ",
            "three labels cannot meet four predictions",
            t(25, 3),
            p(26, 2, 2),
            {**extra, "refused": "cannot be aligned"},
        ),
        (
            "rows_differ",
            "a missing row is not broadcast",
            t(27, 3, 2),
            p(28, 2, 2),
            {**extra, "refused": "cannot be aligned"},
        ),
    )


def _real(seed, *shape):
    return draws(seed, *shape, low=-3.0, high=3.0)


def _unit(seed, *shape):
    return draws(seed, *shape, low=0.01, high=0.99)


def _bits(seed, *shape):
    return (draws(seed, *shape) < 0.5).astype(np.float64)


def _regression(loss):
    """Rows that every elementwise loss over the reals shares."""
    small = {"dtypes": ("float32", "float64")}
    return table(
        loss,
        *_shapes(_real, _real),
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
        ("nan_prediction", "NaN must not vanish", [[0.0, 1.0], [0.0, 1.0]], [[_nan, 1.0], [0.5, 1.0]]),
        ("nan_label", "nor in the labels", [[_nan, 1.0], [0.0, 1.0]], [[0.0, 1.0], [0.5, 1.0]]),
        ("infinite_prediction", "an infinite error is infinite", [[0.0, 1.0]], [[_inf, 1.0]]),
        ("half_overflow", "squares beyond 65504, a mean below it", [[0.0, 0.0]], [[300.0, 1.0]], {"dtypes": ("float16",)}),
        ("tiny", "errors of 1e-18: the square is still normal", [[0.0, 0.0]], [[1e-18, -2e-18]], small),
        ("huge", "errors of 1e15", [[0.0, 0.0]], [[1e15, -2e15]], small),
        ("broadcast_column", "one label for all outputs of a row", [[1.0], [2.0]], [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]),
        ("nan_under_zero_weight", "0 * NaN is NaN, as in Keras", [[0.0], [1.0]], [[_nan], [0.5]], {"sample_weight": [0.0, 1.0]}),
        ("sweep_small", "magnitudes from 1e-12 to 1", magnitudes(31, 6, 4, low=-12, high=0), magnitudes(32, 6, 4, low=-12, high=0), small),
        ("sweep_large", "magnitudes from 1 to 1e12", magnitudes(33, 6, 4, low=0, high=12), magnitudes(34, 6, 4, low=0, high=12), small),
    )  # fmt: skip


def _softmaxed(seed, *shape):
    p = draws(seed, *shape, low=0.05, high=1.0)
    return p / p.sum(-1, keepdims=True)


def _one_hot(seed, *shape):
    classes = shape[-1]
    index = np.random.RandomState(seed).randint(0, classes, shape[:-1])
    return np.eye(classes)[index]


def _logits(seed, *shape):
    return draws(seed, *shape, low=-4.0, high=4.0)


_BINARY = table(
    "BinaryCrossentropy",
    *_shapes(_bits, _unit),
    ("dog_and_cat", "the worked example: p = 0.30 for a 0, 0.61 for a 1", [0.0, 1.0], [0.30, 0.61]),
    ("documented", "the example of Keras's page", [[0.0, 1.0], [0.0, 0.0]], [[0.6, 0.4], [0.4, 0.6]]),
    ("documented_logits", "the other example of Keras's page", [0.0, 1.0, 0.0, 0.0], [-18.6, 0.51, 2.94, -12.8], {"from_logits": True}),
    ("perfect", "certain and right: the clip leaves 1e-7", [[0.0, 1.0]], [[0.0, 1.0]]),
    ("certain_and_wrong", "certain and wrong: the clip keeps it finite", [[1.0, 0.0]], [[0.0, 1.0]]),
    ("at_lower_clip", "p at epsilon: the gate of the clip is inclusive", [[1.0, 0.0]], [[1e-7, 1e-7]], {"dtypes": ("float32", "float64")}),
    ("below_lower_clip", "p below epsilon has no gradient", [[1.0, 0.0]], [[1e-9, 1e-9]], {"dtypes": ("float32", "float64")}),
    ("near_one", "1 - p is far below 1", [[1.0, 0.0]], [[0.99999, 0.99999]], {"dtypes": ("float32", "float64")}),
    ("outside", "probabilities outside [0, 1] are clipped", [[0.0, 1.0, 1.0]], [[-0.5, 1.5, -2.0]]),
    ("half", "the point of no information", [[0.0, 1.0]], [[0.5, 0.5]]),
    ("soft_labels", "labels between 0 and 1", [[0.1, 0.7], [0.5, 0.9]], [[0.3, 0.6], [0.5, 0.2]]),
    ("label_outside", "a label of 2 is arithmetic, not an error", [[2.0, -1.0]], [[0.3, 0.6]]),
    ("integer_labels", "0 and 1 as integers", np.array([[0, 1], [1, 0]]), [[0.2, 0.9], [0.4, 0.4]]),
    ("boolean_labels", "0 and 1 as booleans", np.array([[False, True]]), [[0.2, 0.9]]),
    ("per_row", "rows of different loss: a mean over the wrong axis shows", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]], [[0.1, 0.2, 0.3], [0.1, 0.05, 0.02]]),
    ("swapped_matters", "y_true and y_pred are not alike", [[0.2, 0.8]], [[0.9, 0.4]]),
    ("smoothing", "labels of 0.05 and 0.95", [[0.0, 1.0]], [[0.3, 0.6]], {"label_smoothing": 0.1}),
    ("smoothing_one", "every label is 1/2", [[0.0, 1.0]], [[0.3, 0.6]], {"label_smoothing": 1.0}),
    ("smoothing_logits", "smoothing and logits", [[0.0, 1.0]], [[-2.0, 3.0]], {"label_smoothing": 0.2, "from_logits": True}),
    ("smoothing_negative", "a negative smoothing is refused", [[0.0, 1.0]], [[0.3, 0.6]], {"label_smoothing": -0.1, "refused": "label_smoothing"}),
    ("smoothing_too_much", "a smoothing of 2 is refused", [[0.0, 1.0]], [[0.3, 0.6]], {"label_smoothing": 2.0, "refused": "label_smoothing"}),
    ("axis_0", "the mean over the batch axis", _bits(41, 3, 4), _unit(42, 3, 4), {"axis": 0}),
    ("axis_1", "the mean over the middle axis", _bits(43, 2, 3, 4), _unit(44, 2, 3, 4), {"axis": 1}),
    ("axis_out_of_range", "there is no axis 5", _bits(45, 2, 3), _unit(46, 2, 3), {"axis": 5, "refused": "axis"}),
    ("logits", "typical logits", _bits(47, 4, 3), _logits(48, 4, 3), {"from_logits": True}),
    ("logits_zero", "at 0 the gradient is 1/2 - y", [[0.0, 1.0]], [[0.0, 0.0]], {"from_logits": True}),
    ("logits_negative_zero", "also at -0", [[0.0, 1.0]], [[-0.0, -0.0]], {"from_logits": True}),
    ("logits_saturated_right", "certain and right: the loss is e^-x", [[1.0, 0.0]], [[20.0, -20.0]], {"from_logits": True}),
    ("logits_saturated_wrong", "certain and wrong: the loss is |x|", [[0.0, 1.0]], [[20.0, -20.0]], {"from_logits": True}),
    ("logits_huge", "e^x would overflow", [[0.0, 1.0]], [[1000.0, -1000.0]], {"from_logits": True}),
    ("logits_rank_3", "logits of a sequence", _bits(49, 2, 3, 4), _logits(50, 2, 3, 4), {"from_logits": True}),
    ("nan_prediction", "NaN must not vanish", [[0.0, 1.0], [0.0, 1.0]], [[_nan, 0.5], [0.5, 0.5]], {"paths": ("eager",)}),
    ("nan_logit", "NaN must not vanish", [[0.0, 1.0]], [[_nan, 0.5]], {"from_logits": True}),
    ("sigmoid_recovered", "in a graph the logits behind a Sigmoid are used", [[0.0, 1.0], [1.0, 0.0]], [[20.0, -20.0], [2.0, -1.0]], {"activation": "sigmoid", "dtypes": ("float32",)}),
    ("sigmoid_moderate", "and where nothing saturates it makes no difference", [[0.0, 1.0], [1.0, 0.0]], [[1.0, -2.0], [0.5, -1.0]], {"activation": "sigmoid", "dtypes": ("float32",)}),
    ("sweep", "probabilities from 1e-6 to 1 - 1e-6", _bits(51, 6, 4), 1 / (1 + np.exp(draws(52, 6, 4, low=-13.8, high=13.8))), {"dtypes": ("float32", "float64")}),
    ("sweep_logits", "logits of magnitude 1e-6 to 1e4", _bits(53, 6, 4), magnitudes(54, 6, 4, low=-6, high=4), {"from_logits": True}),
)  # fmt: skip

_CATEGORICAL = table(
    "CategoricalCrossentropy",
    ("documented", "the example of Keras's page", [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]),
    ("dog_and_cat", "the worked example as two classes", [[1.0, 0.0], [0.0, 1.0]], [[0.70, 0.30], [0.39, 0.61]]),
    ("rank_1", "one row without a batch", [0.0, 1.0, 0.0], [0.2, 0.7, 0.1]),
    ("rank_2", "the common batch of rows", _one_hot(61, 4, 3), _softmaxed(62, 4, 3)),
    ("rank_3", "a batch of sequences", _one_hot(63, 2, 3, 4), _softmaxed(64, 2, 3, 4)),
    ("rank_4", "a batch of images", _one_hot(65, 2, 2, 3, 5), _softmaxed(66, 2, 2, 3, 5)),
    ("one_sample", "a batch of one", _one_hot(67, 1, 3), _softmaxed(68, 1, 3)),
    ("two_classes", "the smallest problem", _one_hot(69, 5, 2), _softmaxed(70, 5, 2)),
    ("many_classes", "a sum over 300 classes", _one_hot(71, 2, 300), _softmaxed(72, 2, 300)),
    ("empty_batch", "no sample at all", _one_hot(73, 0, 3), _softmaxed(74, 0, 3)),
    ("perfect", "certain and right", [[0.0, 1.0, 0.0]], [[0.0, 1.0, 0.0]]),
    ("certain_and_wrong", "certain and wrong: the clip keeps it finite", [[0.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]]),
    ("uniform", "no information: log of the number of classes", [[0.0, 1.0, 0.0, 0.0]], [[0.25, 0.25, 0.25, 0.25]]),
    ("unnormalized", "rows are divided by their sum", [[0.0, 1.0, 0.0]], [[1.0, 2.0, 5.0]]),
    ("unnormalized_small", "also when the sum is far below 1", [[0.0, 1.0, 0.0]], [[0.001, 0.002, 0.005]]),
    ("near_one", "log p near p = 1", [[0.0, 1.0]], [[0.001, 0.999]]),
    ("below_clip", "p below epsilon has no gradient of its own", [[1.0, 0.0]], [[1e-9, 1.0]], {"dtypes": ("float32", "float64")}),
    ("zero_row", "a row of zeros has no distribution: NaN", [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.5, 0.5]]),
    ("soft_labels", "a distribution as the label", [[0.2, 0.5, 0.3]], [[0.3, 0.3, 0.4]]),
    ("labels_sum_to_two", "labels that are no distribution", [[1.0, 1.0, 0.0]], [[0.3, 0.3, 0.4]]),
    ("zero_labels", "a row without a label costs nothing", [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.3, 0.3, 0.4], [0.2, 0.7, 0.1]]),
    ("labels_sum_to_two_logits", "the gradient stays softmax - y, as in Keras", [[1.0, 1.0, 0.0]], [[0.3, -0.3, 0.4]], {"from_logits": True}),
    ("integer_labels", "one-hot rows of integers", np.array([[0, 1, 0], [1, 0, 0]]), [[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]),
    ("per_row", "rows of different loss: a sum over the wrong axis shows", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]),
    ("swapped_matters", "y_true and y_pred are not alike", [[0.2, 0.8]], [[0.9, 0.1]]),
    ("smoothing", "a tenth of the label spread over three classes", [[0.0, 1.0, 0.0]], [[0.2, 0.7, 0.1]], {"label_smoothing": 0.1}),
    ("smoothing_one", "only the uniform label is left", [[0.0, 1.0, 0.0]], [[0.2, 0.7, 0.1]], {"label_smoothing": 1.0}),
    ("smoothing_logits", "smoothing and logits", [[0.0, 1.0, 0.0]], [[-1.0, 2.0, 0.5]], {"label_smoothing": 0.2, "from_logits": True}),
    ("smoothing_axis_1", "the classes are counted along `axis`", np.moveaxis(_one_hot(75, 2, 4, 3), -1, 1), np.moveaxis(_softmaxed(76, 2, 4, 3), -1, 1), {"label_smoothing": 0.3, "axis": 1}),
    ("smoothing_too_much", "a smoothing of 2 is refused", [[0.0, 1.0]], [[0.3, 0.7]], {"label_smoothing": 2.0, "refused": "label_smoothing"}),
    ("smoothing_negative", "a negative smoothing is refused", [[0.0, 1.0]], [[0.3, 0.7]], {"label_smoothing": -0.5, "refused": "label_smoothing"}),
    ("axis_1", "classes in the middle, as in channels_first", np.moveaxis(_one_hot(77, 2, 4, 3), -1, 1), np.moveaxis(_softmaxed(78, 2, 4, 3), -1, 1), {"axis": 1}),
    ("axis_1_logits", "the same from logits", np.moveaxis(_one_hot(79, 2, 4, 3), -1, 1), np.moveaxis(_logits(80, 2, 4, 3), -1, 1), {"axis": 1, "from_logits": True}),
    ("axis_0", "classes first of all", _one_hot(81, 4, 3).T, _softmaxed(82, 4, 3).T, {"axis": 0}),
    ("logits", "typical logits", _one_hot(83, 4, 3), _logits(84, 4, 3), {"from_logits": True}),
    ("logits_saturated_right", "certain and right", [[0.0, 1.0]], [[-20.0, 20.0]], {"from_logits": True}),
    ("logits_saturated_wrong", "certain and wrong: the margin itself", [[1.0, 0.0]], [[-20.0, 20.0]], {"from_logits": True}),
    ("logits_huge", "e^x would overflow", [[1.0, 0.0]], [[-5000.0, 5000.0]], {"from_logits": True}),
    ("logits_shifted", "a constant added to a row changes nothing", [[0.0, 1.0, 0.0]], [[100.5, 101.5, 99.0]], {"from_logits": True}),
    ("logits_tied", "equal logits", [[0.0, 1.0, 0.0]], [[2.0, 2.0, 2.0]], {"from_logits": True}),
    ("nan_logit", "NaN must not vanish", [[0.0, 1.0], [1.0, 0.0]], [[_nan, 0.5], [0.5, 0.5]], {"from_logits": True}),
    ("nan_under_zero_weight", "0 * NaN is NaN, as in Keras", [[0.0, 1.0], [1.0, 0.0]], [[0.0, 0.0], [0.5, 0.5]], {"sample_weight": [0.0, 1.0]}),
    ("softmax_recovered", "eager 16.118, in a graph 40: the logits behind a Softmax", [[1.0, 0.0]], [[-20.0, 20.0]], {"activation": "softmax", "dtypes": ("float32",)}),
    ("softmax_moderate", "where nothing saturates recovery makes no difference", [[1.0, 0.0, 0.0]], [[-1.0, 1.0, 0.5]], {"activation": "softmax", "dtypes": ("float32",)}),
    ("indices_given", "indices are refused, and the sparse form named", np.array([0, 2]), [[0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], {"refused": "sparse"}),
    ("classes_differ", "two labels cannot meet three classes", [[0.0, 1.0]], [[0.1, 0.8, 0.1]], {"refused": "cannot be aligned"}),
    ("sweep_logits", "logits of magnitude 1e-3 to 1e3", _one_hot(85, 6, 4), magnitudes(86, 6, 4, low=-3, high=3), {"from_logits": True}),
)  # fmt: skip

_SPARSE = table(
    "SparseCategoricalCrossentropy",
    ("documented", "the example of Keras's page", np.array([1, 2]), [[0.05, 0.95, 0.0], [0.1, 0.8, 0.1]]),
    ("dog_and_cat", "the worked example as two classes", np.array([0, 1]), [[0.70, 0.30], [0.39, 0.61]]),
    ("rank_1", "one row and one label", np.array(1), [0.2, 0.7, 0.1]),
    ("rank_2", "the common batch of rows", np.array([0, 2, 1, 1]), _softmaxed(92, 4, 3)),
    ("rank_3", "a batch of sequences", np.array([[0, 2, 1], [3, 3, 0]]), _softmaxed(94, 2, 3, 4)),
    ("rank_4", "a batch of images", np.array([[[0, 4], [1, 2]]]), _softmaxed(96, 1, 2, 2, 5)),
    ("one_sample", "a batch of one", np.array([2]), _softmaxed(98, 1, 3)),
    ("column", "labels of shape (N, 1)", np.array([[0], [2], [1]]), _softmaxed(100, 3, 3)),
    ("trailing_one_rank_3", "labels of shape (N, T, 1)", np.array([[[0], [2]], [[1], [1]]]), _softmaxed(102, 2, 2, 3)),
    ("float_labels", "indices stored as floats", [0.0, 2.0, 1.0], _softmaxed(104, 3, 3)),
    ("empty_batch", "no sample at all", np.zeros(0, np.int64), _softmaxed(106, 0, 3)),
    ("many_classes", "300 classes: 257 is no bfloat16", np.array([257, 299, 0]), _softmaxed(108, 3, 300), {"from_logits": False}),
    ("labels_beyond_half", "3,000 classes: 2049 is no float16", np.array([2049, 2999]), _logits(110, 2, 3000), {"from_logits": True}),
    ("perfect", "certain and right", np.array([1]), [[0.0, 1.0, 0.0]]),
    ("certain_and_wrong", "certain and wrong: the clip keeps it finite", np.array([1]), [[1.0, 0.0, 0.0]]),
    ("uniform", "no information: log of the number of classes", np.array([1]), [[0.25, 0.25, 0.25, 0.25]]),
    ("unnormalized", "rows are divided by their sum", np.array([1]), [[0.1, 0.2, 0.5]]),
    ("clip_before_sum", "here the clip comes before the sum, unlike the dense form", np.array([1]), [[3.0, 0.5, 2.0]]),
    ("below_clip", "p below epsilon has no gradient of its own", np.array([0]), [[1e-9, 1.0]], {"dtypes": ("float32", "float64")}),
    ("zero_row", "a row of zeros is clipped to a uniform one", np.array([0, 1]), [[0.0, 0.0], [0.5, 0.5]]),
    ("per_row", "rows of different loss", np.array([0, 1]), [[0.1, 0.2, 0.7], [0.3, 0.6, 0.1]]),
    ("logits", "typical logits", np.array([0, 2, 1, 1]), _logits(112, 4, 3), {"from_logits": True}),
    ("logits_rank_3", "logits of a sequence", np.array([[0, 2], [1, 1]]), _logits(114, 2, 2, 3), {"from_logits": True}),
    ("logits_saturated_right", "certain and right", np.array([1]), [[-20.0, 20.0]], {"from_logits": True}),
    ("logits_saturated_wrong", "certain and wrong: the margin itself", np.array([0]), [[-20.0, 20.0]], {"from_logits": True}),
    ("logits_huge", "e^x would overflow", np.array([0]), [[-5000.0, 5000.0]], {"from_logits": True}),
    ("logits_shifted", "a constant added to a row changes nothing", np.array([1]), [[100.5, 101.5, 99.0]], {"from_logits": True}),
    ("ignore", "an ignored label counts in no mean", np.array([0, 255, 1]), _softmaxed(116, 3, 3), {"ignore_class": 255}),
    ("ignore_logits", "the same from logits", np.array([0, 255, 1]), _logits(118, 3, 3), {"ignore_class": 255, "from_logits": True}),
    ("ignore_negative", "-1 marks what to ignore", np.array([-1, 2, 1]), _softmaxed(120, 3, 3), {"ignore_class": -1}),
    ("ignore_a_class", "a real class can be ignored", np.array([0, 1, 2, 1]), _softmaxed(122, 4, 3), {"ignore_class": 1}),
    ("ignore_zero", "class 0 too", np.array([0, 1, 2, 0]), _softmaxed(124, 4, 3), {"ignore_class": 0}),
    ("ignore_none_present", "nothing to ignore", np.array([0, 1, 2]), _softmaxed(126, 3, 3), {"ignore_class": 255}),
    ("ignore_all", "everything ignored", np.array([255, 255]), _softmaxed(128, 2, 3), {"ignore_class": 255}),
    ("ignore_column", "ignored labels of shape (N, 1)", np.array([[0], [255], [1]]), _softmaxed(130, 3, 3), {"ignore_class": 255}),
    ("ignore_images", "ignored pixels", np.array([[[0, 255], [1, 2]], [[255, 255], [2, 2]]]), _softmaxed(132, 2, 2, 2, 3), {"ignore_class": 255}),
    ("ignore_weighted", "ignored and weighted", np.array([0, 255, 1]), _softmaxed(134, 3, 3), {"ignore_class": 255, "sample_weight": [1.0, 5.0, 2.0]}),
    ("ignore_nan", "what is ignored may be NaN", np.array([0, 255]), [[0.5, 0.5], [_nan, 0.5]], {"ignore_class": 255}),
    ("axis_1", "classes in the middle", np.array([[0, 2], [1, 1]]), np.moveaxis(_softmaxed(136, 2, 2, 3), -1, 1), {"axis": 1}),
    ("axis_last", "the last axis by its positive name", np.array([0, 2]), _softmaxed(138, 2, 3), {"axis": 1}),
    ("smoothing", "a fifth of the label spread over three classes", np.array([0, 2]), _softmaxed(140, 2, 3), {"label_smoothing": 0.2}),
    ("smoothing_logits", "the same from logits", np.array([0, 2]), _logits(142, 2, 3), {"label_smoothing": 0.2, "from_logits": True}),
    ("smoothing_too_much", "a smoothing of 2 is refused", np.array([0, 1]), _softmaxed(144, 2, 3), {"label_smoothing": 2.0, "refused": "label_smoothing"}),
    ("softmax_recovered", "in a graph the logits behind a Softmax are used", np.array([0]), [[-20.0, 20.0]], {"activation": "softmax", "dtypes": ("float32",)}),
    ("softmax_moderate", "where nothing saturates it makes no difference", np.array([0]), [[-1.0, 1.0, 0.5]], {"activation": "softmax", "dtypes": ("float32",)}),
    ("softmax_ignore_class", "with ignore_class Keras does not look behind the Softmax", np.array([0, 255]), [[-20.0, 20.0], [0.0, 1.0]], {"activation": "softmax", "ignore_class": 255, "dtypes": ("float32",)}),
    ("one_hot_given", "one-hot rows are refused, and the dense form named", np.array([[0, 1, 0], [1, 0, 0]]), _softmaxed(146, 2, 3), {"refused": "one-hot"}),
    ("label_too_high", "class 3 of 3 is refused", np.array([0, 3]), _softmaxed(148, 2, 3), {"refused": "no class", "paths": ("eager",)}),
    ("label_negative", "class -1 is refused where nothing is ignored", np.array([0, -1]), _softmaxed(150, 2, 3), {"refused": "no class", "paths": ("eager",)}),
    ("labels_too_few", "two labels for three rows", np.array([0, 1]), _softmaxed(152, 3, 3), {"refused": "y_true"}),
    ("nan_logit", "NaN must not vanish", np.array([0, 1]), [[_nan, 0.5], [0.5, 0.5]], {"from_logits": True}),
    ("sweep_logits", "logits of magnitude 1e-3 to 1e3", np.array([0, 1, 2, 3, 0, 1]), magnitudes(154, 6, 4, low=-3, high=3), {"from_logits": True}),
)  # fmt: skip

#: What each loss is asked, by hand.
HAND = {
    "MeanSquaredError": _regression("MeanSquaredError"),
    "MeanAbsoluteError": _regression("MeanAbsoluteError"),
    "BinaryCrossentropy": _BINARY,
    "CategoricalCrossentropy": _CATEGORICAL,
    "SparseCategoricalCrossentropy": _SPARSE,
}

#: The batch that the crossing of reductions, weights and masks is asked of: three
#: samples of two steps, so that every shape of weight differs from every other.
CROSSED = {
    "MeanSquaredError": (_real(201, 3, 2, 4), _real(202, 3, 2, 4)),
    "MeanAbsoluteError": (_real(201, 3, 2, 4), _real(202, 3, 2, 4)),
    "BinaryCrossentropy": (_bits(203, 3, 2, 4), _unit(204, 3, 2, 4)),
    "CategoricalCrossentropy": (_one_hot(205, 3, 2, 4), _softmaxed(206, 3, 2, 4)),
    "SparseCategoricalCrossentropy": (
        np.array([[0, 1], [3, 2], [1, 1]]),
        _softmaxed(207, 3, 2, 4),
    ),
}

WEIGHTS = {
    "no_weight": None,
    "scalar_weight": 2.5,
    "sample_weight": [0.5, 0.0, 2.0],
    "column_weight": [[0.5], [0.0], [2.0]],
    "element_weight": [[0.5, 1.0], [0.0, 3.0], [2.0, 0.25]],
    "zero_weight": [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]],
}
MASKS = {
    "no_mask": None,
    "some_masked": [[True, False], [True, True], [False, True]],
    "all_masked": [[False, False], [False, False], [False, False]],
}
REDUCTIONS = (DEFAULT, "sum", "none", "mean", "mean_with_sample_weight", None)


def corpus(losses=None, full=False):
    """All cases of `losses` (all losses if None), crossed; `full` crosses further."""
    for loss in losses if losses is not None else HAND:
        for case in HAND[loss]:
            yield from _cross_dtype_and_path(case, full)
        yield from _cross_reduction(loss, full)


def _cross_dtype_and_path(case, full):
    """Every dtype eagerly; graph, XLA and `fit` in float32, or in all when `full`."""
    if "eager" in case.paths and case.refused is None:
        # The value of each sample, which a mean could hide.
        yield dataclasses.replace(case, dtype=case.dtypes[0], reduction="none")
    for dtype in case.dtypes:
        if "eager" in case.paths:
            yield dataclasses.replace(case, dtype=dtype)
        for path in ("graph", "xla"):
            if path in case.paths and (full or dtype == "float32"):
                yield dataclasses.replace(case, dtype=dtype, path=path)
    if _fits(case, full):
        yield dataclasses.replace(case, path="fit")


def _fits(case, full):
    """Whether a case can be trained on: one batch, float32, accepted input."""
    if "fit" not in case.paths or "float32" not in case.dtypes or case.refused:
        return False
    if case.y_pred.ndim < 2 or case.y_pred.shape[0] == 0 or case.y_true.ndim == 0:
        return False
    if case.y_pred.shape[0] != case.y_true.shape[0]:
        return False
    return full or case.activation is not None or case.name == "documented"


def _cross_reduction(loss, full):
    """Every reduction under every weight and mask; the paths on a part of them."""
    y_true, y_pred = (_data(values) for values in CROSSED[loss])
    for mask_name, mask in MASKS.items():
        for weight_name, weight in WEIGHTS.items():
            case = Case(
                loss,
                f"{weight_name}_{mask_name}",
                "weights, masks and reductions, by the host's rules",
                y_true,
                y_pred,
                sample_weight=weight,
                mask=mask,
            )
            for reduction in REDUCTIONS:
                for dtype in DTYPES:
                    yield dataclasses.replace(case, dtype=dtype, reduction=reduction)
                if full or weight_name in ("no_weight", "element_weight"):
                    for path in ("graph", "xla"):
                        yield dataclasses.replace(case, path=path, reduction=reduction)

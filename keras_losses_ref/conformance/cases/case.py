"""What a case is, and what tables of cases are made with."""

import dataclasses
import re
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

DTYPES = ("float32", "float64", "float16", "bfloat16")
PATHS = ("eager", "graph", "xla", "nested", "fit", "reloaded")
#: Those on which a case is traced, so that neighbours can be traced as one.
COMPILED_PATHS = ("graph", "xla", "nested")
#: How a program may hand over its inputs; "tensor" is the usual one.
FORMS = (
    "tensor",
    "list",
    "numpy",
    "object_labels",
    "boolean_labels",
    "integer_labels",
    "pandas",
    "variable",
    "keras_variable",
    "symbolic",
    "unknown_rank",
    "unknown_shape",
    "ragged",
)
#: Those in which nothing watches y_pred, so that there is no gradient to compare.
UNWATCHED_FORMS = ("list", "numpy", "pandas", "keras_variable", "symbolic", "ragged")
#: Kinds of device; a case runs on one of them, such as "GPU:0".
DEVICES = ("CPU", "GPU")
DEFAULT = "sum_over_batch_size"


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One question to a loss. Data in float64 or int64; `dtype` is what rounds it."""

    loss: str
    name: str
    why: str
    y_true: Any
    y_pred: Any
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    sample_weight: Any = None
    mask: Any = None
    #: An activation between y_pred and the loss, whose logits a loss may recover.
    activation: Optional[str] = None
    #: For input that must be refused: a fragment of our message.
    expected_error: Optional[str] = None
    dtype: str = "float32"
    reduction: Optional[str] = DEFAULT
    path: str = "eager"
    device: str = "CPU:0"
    form: str = "tensor"
    #: Where Keras warns: a fragment of what both must say.
    expected_warning: Optional[str] = None
    #: Whether the second derivative is asked for as well.
    check_hessian: bool = False
    #: Where the question makes sense at all; everywhere unless named.
    dtypes: tuple[str, ...] = DTYPES
    paths: tuple[str, ...] = PATHS
    devices: tuple[str, ...] = DEVICES

    @property
    def stem(self) -> str:
        return f"{snake(self.loss)}/{self.name}"

    @property
    def id(self) -> str:
        """Unique; the device is named where it is not the CPU, a form if unusual."""
        where = "" if self.device == "CPU:0" else f",{self.device}"
        where += "" if self.form == "tensor" else f",{self.form}"
        return f"{self.stem}[{self.dtype},{self.reduction},{self.path}{where}]"


def snake(name: str) -> str:
    """MeanSquaredError -> mean_squared_error, CTC -> ctc."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def table(loss: str, *rows: tuple[Any, ...]) -> list[Case]:
    """Cases of one loss out of (name, why, y_true, y_pred, {...}) rows."""
    cases = []
    for name, why, y_true, y_pred, *rest in rows:
        extra = rest[0] if rest else {}
        fields = {f.name for f in dataclasses.fields(Case)}
        config = {k: v for k, v in extra.items() if k not in fields}
        options = {k: v for k, v in extra.items() if k in fields}
        case = Case(loss, name, why, data(y_true), data(y_pred, float), config)
        cases.append(dataclasses.replace(case, **options))
    return cases


def data(values: ArrayLike, dtype: Any = None) -> NDArray[Any]:
    array = np.asarray(values)
    if dtype is None and array.dtype.kind in "iub":
        return array.astype(np.int64)
    return array.astype(np.float64)


NAN, INF = float("nan"), float("inf")


def draws(seed: int, *shape: int, low: float = 0.0, high: float = 1.0) -> NDArray[Any]:
    """Uniform numbers, the same for ever: NumPy keeps the stream of a legacy seed."""
    return np.random.RandomState(seed).uniform(low, high, shape)


def magnitudes(seed: int, *shape: int, low: float, high: float) -> NDArray[Any]:
    """Signed numbers whose exponents are spread evenly over [low, high]."""
    state = np.random.RandomState(seed)
    sign = np.where(state.uniform(size=shape) < 0.5, -1.0, 1.0)
    return sign * 10.0 ** state.uniform(low, high, shape)


def shapes(
    y_true: Callable[..., NDArray[Any]],
    y_pred: Callable[..., NDArray[Any]],
    extra: Optional[dict[str, Any]] = None,
) -> tuple[tuple[Any, ...], ...]:
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
            {**extra, "expected_error": "cannot be aligned"},
        ),
        (
            "rows_differ",
            "a missing row is not broadcast",
            t(27, 3, 2),
            p(28, 2, 2),
            {**extra, "expected_error": "cannot be aligned"},
        ),
    )


def real(seed: int, *shape: int) -> NDArray[Any]:
    return draws(seed, *shape, low=-3.0, high=3.0)


def unit(seed: int, *shape: int) -> NDArray[Any]:
    return draws(seed, *shape, low=0.01, high=0.99)


def bits(seed: int, *shape: int) -> NDArray[Any]:
    return (draws(seed, *shape) < 0.5).astype(np.float64)


def softmaxed(seed: int, *shape: int) -> NDArray[Any]:
    p = draws(seed, *shape, low=0.05, high=1.0)
    return p / p.sum(-1, keepdims=True)


def one_hot(seed: int, *shape: int) -> NDArray[Any]:
    classes = shape[-1]
    index = np.random.RandomState(seed).randint(0, classes, shape[:-1])
    return np.eye(classes)[index]


def logits(seed: int, *shape: int) -> NDArray[Any]:
    return draws(seed, *shape, low=-4.0, high=4.0)

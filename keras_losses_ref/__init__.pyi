"""The public names and their types, for type checkers and editors.

TensorFlow and Keras have no types of their own, so tensors are `Any`: what is checked
is the names of arguments and the types of plain Python values. That this file says what
the code does is a test, tests/test_types.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, overload

from typing_extensions import Self

__version__: str
__all__: list[str]

#: What TensorFlow takes as a tensor: tensors, arrays, numbers, nested lists.
_Tensor = Any
#: A name such as "float16", or a `tf.DType`; None for Keras's own choice.
_DType = Any
_Axes = int | Sequence[int] | None
_Test = TypeVar("_Test", bound=Callable[..., object])

class Loss:
    """Base of all losses here: a host Keras's `Loss` that keeps its promises."""

    name: str
    reduction: str | None
    dtype: _DType
    jit_compile: bool | str
    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = ...,
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...
    def __call__(
        self, y_true: _Tensor, y_pred: _Tensor, sample_weight: _Tensor | None = None
    ) -> _Tensor: ...
    def call(self, y_true: _Tensor, y_pred: _Tensor) -> _Tensor: ...
    def get_config(self) -> dict[str, Any]: ...
    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self: ...

@overload
def get(identifier: None) -> None: ...
@overload
def get(
    identifier: str | Mapping[str, Any] | Callable[..., Any],
) -> Callable[..., _Tensor]: ...
def to_keras(loss: Any) -> Any: ...

class Domain:
    """One kind of input."""

    name: str
    sample: Callable[..., Any]
    def __init__(
        self,
        name: str,
        sample: Callable[..., Any],
        perfect: Callable[..., Any] | None = None,
        edges: Callable[..., Any] | None = None,
        predicts: str = "reals",
        elementwise: bool = False,
        labels: str = "values",
        low: float | None = None,
        high: float | None = None,
        ignored: Callable[..., Any] | None = None,
        pairs: bool = False,
        ranked: bool = False,
    ) -> None: ...

class _Finding:
    """What one check said about one loss."""

    check: str
    status: str
    message: str
    severity: str
    remedy: str
    def text(self) -> str: ...

class _Report:
    """The findings of `check_loss`, and what it ran on."""

    results: list[_Finding]
    environment: dict[str, Any]
    @property
    def ok(self) -> bool: ...
    @property
    def failures(self) -> list[_Finding]: ...
    @property
    def skipped(self) -> list[_Finding]: ...
    def text(self, everything: bool = False) -> str: ...

def check_loss(
    loss: Any,
    *,
    domain: Any = None,
    oracle: Callable[..., Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    declares: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> _Report: ...
def parametrize_with_loss_checks(
    losses: Sequence[Any],
    *,
    domain: Any = None,
    oracle: Callable[..., Any] | None = None,
    expected_failures: (
        Mapping[str, str] | Callable[[Any], Mapping[str, str] | None] | None
    ) = None,
    declares: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
) -> Callable[[_Test], _Test]: ...

class BinaryCrossentropy(Loss):
    from_logits: bool
    label_smoothing: float
    axis: int
    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = ...,
        name: str | None = "binary_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class BinaryFocalCrossentropy(Loss):
    apply_class_balancing: bool
    alpha: float
    gamma: float
    from_logits: bool
    label_smoothing: float
    axis: int
    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = ...,
        name: str | None = "binary_focal_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CTC(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "ctc",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CategoricalCrossentropy(Loss):
    from_logits: bool
    label_smoothing: float
    axis: int
    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = ...,
        name: str | None = "categorical_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CategoricalFocalCrossentropy(Loss):
    alpha: float | Sequence[float]
    gamma: float
    from_logits: bool
    label_smoothing: float
    axis: int
    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = ...,
        name: str | None = "categorical_focal_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CategoricalGeneralizedCrossEntropy(Loss):
    q: float
    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = ...,
        name: str | None = "categorical_generalized_cross_entropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CategoricalHinge(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "categorical_hinge",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Circle(Loss):
    gamma: float
    margin: float
    remove_diagonal: bool
    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = ...,
        name: str | None = "circle",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class CosineSimilarity(Loss):
    axis: _Axes
    def __init__(
        self,
        axis: _Axes = -1,
        reduction: str | None = ...,
        name: str | None = "cosine_similarity",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Dice(Loss):
    axis: _Axes
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "dice",
        axis: _Axes = None,
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Hinge(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "hinge",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Huber(Loss):
    delta: float
    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = ...,
        name: str | None = "huber_loss",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class KLDivergence(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "kl_divergence",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class LinearHead:
    units: int
    softcap: float | None
    kernel: Any
    bias: Any
    def __init__(
        self, units: int, softcap: float | None = None, **kwargs: Any
    ) -> None: ...
    def __call__(self, inputs: _Tensor) -> Any: ...
    def get_config(self) -> dict[str, Any]: ...

class LinearSparseCategoricalCrossentropy(Loss):
    ignore_class: int | None
    label_smoothing: float
    def __init__(
        self,
        ignore_class: int | None = None,
        label_smoothing: float = 0.0,
        reduction: str | None = ...,
        name: str | None = "linear_sparse_categorical_crossentropy",
        dtype: _DType = None,
    ) -> None: ...

class LogCosh(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "log_cosh",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class MeanAbsoluteError(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "mean_absolute_error",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class MeanAbsolutePercentageError(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "mean_absolute_percentage_error",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class MeanSquaredError(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "mean_squared_error",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class MeanSquaredLogarithmicError(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "mean_squared_logarithmic_error",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Poisson(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "poisson",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class SparseCategoricalCrossentropy(Loss):
    from_logits: bool
    ignore_class: int | None
    axis: int
    label_smoothing: float
    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = ...,
        axis: int = -1,
        label_smoothing: float = 0.0,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class SparseCategoricalFocalCrossentropy(Loss):
    alpha: float | Sequence[float]
    gamma: float
    from_logits: bool
    ignore_class: int | None
    axis: int
    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = ...,
        name: str | None = "sparse_categorical_focal_crossentropy",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class SquaredHinge(Loss):
    def __init__(
        self,
        reduction: str | None = ...,
        name: str | None = "squared_hinge",
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

class Tversky(Loss):
    alpha: float
    beta: float
    axis: _Axes
    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = ...,
        name: str | None = "tversky",
        axis: _Axes = None,
        dtype: _DType = None,
        jit_compile: bool | str = ...,
    ) -> None: ...

def binary_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> _Tensor: ...
def binary_focal_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> _Tensor: ...
def categorical_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> _Tensor: ...
def categorical_focal_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> _Tensor: ...
def categorical_generalized_cross_entropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    q: float = 0.5,
) -> _Tensor: ...
def categorical_hinge(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def circle(
    y_true: _Tensor,
    y_pred: _Tensor,
    ref_labels: _Tensor | None = None,
    ref_embeddings: _Tensor | None = None,
    remove_diagonal: bool = True,
    gamma: float = 80,
    margin: float = 0.4,
) -> _Tensor: ...
def cosine_similarity(
    y_true: _Tensor,
    y_pred: _Tensor,
    axis: _Axes = -1,
) -> _Tensor: ...
def ctc(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def dice(
    y_true: _Tensor,
    y_pred: _Tensor,
    axis: _Axes = None,
) -> _Tensor: ...
def hinge(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def huber(
    y_true: _Tensor,
    y_pred: _Tensor,
    delta: float = 1.0,
) -> _Tensor: ...
def kl_divergence(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def linear_logits(
    hidden: _Tensor,
    weight: _Tensor,
    bias: _Tensor | None = None,
    softcap: float | None = None,
) -> _Tensor: ...
def linear_sparse_categorical_crossentropy(
    y_true: _Tensor,
    hidden: _Tensor,
    weight: _Tensor,
    bias: _Tensor | None = None,
    softcap: float | None = None,
    ignore_class: int | None = None,
    label_smoothing: float = 0.0,
) -> _Tensor: ...
def log_cosh(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def mean_absolute_error(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def mean_absolute_percentage_error(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def mean_squared_error(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def mean_squared_logarithmic_error(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def poisson(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def sparse_categorical_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
    label_smoothing: float = 0.0,
) -> _Tensor: ...
def sparse_categorical_focal_crossentropy(
    y_true: _Tensor,
    y_pred: _Tensor,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> _Tensor: ...
def squared_hinge(
    y_true: _Tensor,
    y_pred: _Tensor,
) -> _Tensor: ...
def tversky(
    y_true: _Tensor,
    y_pred: _Tensor,
    alpha: float = 0.5,
    beta: float = 0.5,
    axis: _Axes = None,
) -> _Tensor: ...

BCE = binary_crossentropy
KLD = kl_divergence
MAE = mean_absolute_error
MAPE = mean_absolute_percentage_error
MSE = mean_squared_error
MSLE = mean_squared_logarithmic_error
bce = binary_crossentropy
huber_loss = huber
kld = kl_divergence
kullback_leibler_divergence = kl_divergence
logcosh = log_cosh
mae = mean_absolute_error
mape = mean_absolute_percentage_error
mse = mean_squared_error
msle = mean_squared_logarithmic_error

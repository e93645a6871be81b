"""The loss under test: how it was given, how to build it again, what it returns."""

import contextlib
import functools
import importlib
import inspect
import os
import random
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import NDArray

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays
from keras_losses_ref.conformance.checks import domains, structures
from keras_losses_ref.conformance.checks.check import CHECKS, CheckSkipped, describe

keras = host.keras

#: What a loss may declare about itself, in the class attribute (or the attribute of
#: the function) `_klr_declares`, a dict with any of these keys.
DECLARABLE = {
    "domain": "the name of its domain, or (rng, n) -> (y_true, y_pred)",
    "batch_wise": "True where the value of a sample depends on the rest of the batch",
    "random": "True where the loss draws random numbers: it is compared under one seed",
    "non_negative": "True where no value is below zero",
    "zero_at_perfect": "True where a perfect prediction has a loss of zero",
    "backends": "the backends on which it is the same, such as ['tensorflow', 'jax']",
    "expected_failures": "{check: reason} of the checks that it fails on purpose",
}

#: Host's wrapper of plain functions, as `compile` applies it: the base of its MSE.
FunctionLoss = keras.losses.MeanSquaredError.__mro__[1]


class StructureLoss(FunctionLoss):
    """A plain function of dicts or tuples, which the host's wrapper may not take."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(y_true, y_pred)


def load_target(target: str) -> Any:
    """The object that "pkg.mod:attr" names; `ImportError` says what is not there."""
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        raise ImportError(
            f"{target!r} names no loss. Expected 'package.module:name', for example "
            "'my_package.losses:MyLoss'."
        )
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    found = importlib.import_module(module_name)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ImportError(f"{module_name} has no attribute {name!r}.") from None
    return found


class LossUnderTest:
    """One loss, given as a class, an instance, a factory or a plain function."""

    def __init__(
        self,
        given: Any,
        domain: Any = None,
        oracle: Optional[Callable[..., Any]] = None,
        declares: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.given = given
        self.oracle = oracle
        self.kind = _kind(given)
        own = getattr(given, "_klr_declares", None)
        if self.kind == "instance":
            own = getattr(type(given), "_klr_declares", own)
        self.declares = {**(own or {}), **(declares or {})}
        unknown = set(self.declares) - set(DECLARABLE)
        if unknown:
            raise ValueError(
                f"Unknown declaration: {', '.join(sorted(unknown))}. Expected any of "
                f"{', '.join(DECLARABLE)}."
            )
        #: What each check has found so far, and the checks that were asked for.
        self.results, self.asked = {}, None
        #: The exception's class, where `problem` is not None.
        self.problem_type = None
        self._asked_domain = domain or self.declares.get("domain")
        if isinstance(self._asked_domain, str) and (
            self._asked_domain not in domains.DOMAINS
        ):
            raise ValueError(
                f"Unknown domain: {self._asked_domain!r}. Expected one of "
                f"{', '.join(domains.DOMAINS)}, or a function (rng, n) -> "
                "(y_true, y_pred); on the command line my_module:draw."
            )

    # What it is

    @functools.cached_property
    def loss(self) -> Any:
        """One instance, as `compile` would use it."""
        if self.kind == "instance":
            return self.given
        if self.kind == "function":
            return self._wrapped(self.given, self._function_name())
        made = self.given()
        if callable(made) and not isinstance(made, host.Loss):
            made = self._wrapped(made, getattr(made, "__name__", None))
        return made

    def _wrapped(self, function, name):
        """A function as `compile` makes a loss of it, where that is possible."""
        domain = self._asked_domain
        if isinstance(domain, str):
            domain = domains.DOMAINS[domain]
        if callable(domain):
            domain = domains.custom(domain)
        wrapper = FunctionLoss
        with contextlib.suppress(Exception):  # `runs` will say what is wrong with it
            if any(map(structures.is_structure, domains.draw(domain, 0, 2))):
                wrapper = StructureLoss
        return wrapper(function, name=name)

    def _function_name(self):
        name = getattr(self.given, "__name__", type(self.given).__name__)
        return name.strip("<>") or "loss"

    @property
    def cls(self) -> Any:
        """The class of the loss, None for a plain function."""
        if inspect.isclass(self.given):
            return self.given
        if self.is_function:
            return None
        return type(self.loss)

    @functools.cached_property
    def is_function(self) -> bool:
        return self.kind == "function" or (
            not inspect.isclass(self.given)
            and type(self.loss) in (FunctionLoss, StructureLoss)
        )

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.kind == "instance":
            return type(self.given).__name__
        return getattr(self.given, "__name__", type(self.given).__name__)

    @property
    def implementation(self) -> Any:
        """The function or class whose name the user chose, for saving."""
        if not self.is_function:
            return self.cls
        return self.given if self.kind == "function" else self.loss.fn

    def custom_objects(self) -> dict[str, Any]:
        found = self.implementation
        return {getattr(found, "__name__", "loss"): found}

    def importable(self) -> bool:
        """Whether another process can import the loss by its name."""
        found = self.implementation
        module = getattr(found, "__module__", None)
        path = getattr(found, "__qualname__", "<locals>")
        if module in (None, "__main__") or "<" in path:
            return False
        value = sys.modules.get(module)
        for name in path.split("."):
            value = getattr(value, name, None)
        return value is found

    # What a check may need

    def require(self, need: str) -> None:
        """Raise `CheckSkipped` if a check does not apply.

        built         an instance of it can be made
        class         it is a `Loss` and has a config
        runs          it returns something for ordinary samples
        per_sample    it returns one value per sample
        independent   no sample changes the value of another
        elementwise   y_true and y_pred have one shape
        one_tensor    y_pred is one tensor, not a dict or tuple of them
        fits          a model can be fitted: y_true and y_pred are one tensor each
        repeatable    it draws no random numbers
        parts         some samples of a batch are a batch
        """
        if self.build_problem is not None:
            raise CheckSkipped("the loss cannot be built", root="runs")
        if need == "built":
            return
        if need == "class":
            if self.is_function:
                raise CheckSkipped("a plain function has no config")
            return
        if self.problem is not None:
            raise CheckSkipped("the loss does not run on ordinary samples", root="runs")
        if need == "repeatable" and self.random:
            raise CheckSkipped(
                "the loss draws random numbers, as declared: other shapes and graphs "
                "draw others"
            )
        if need == "parts" and not self.has_parts:
            raise CheckSkipped(
                "the shape of a sample depends on the size of the batch: no part of a "
                "batch is a batch"
            )
        if need == "per_sample" and not self.per_sample:
            raise CheckSkipped("not one value per sample", root="one_value_per_sample")
        if need == "independent":
            self.require("per_sample")
            if not self.independent:
                raise CheckSkipped("a sample changes the loss of the others")
        if need in ("one_tensor", "fits"):
            self._require_tensors(need)
        if need == "elementwise" and not self.domain.elementwise:
            raise CheckSkipped(
                f"(N, 1) means nothing in the domain {self.domain.name!r}"
            )

    def fails(self, name: str) -> bool:
        """Whether the loss breaks another check, if that was asked for at all."""
        return self._cause(name) == name

    def _cause(self, name):
        """The check whose failure stands behind `name`: itself, its root, or None."""
        if self.asked is not None and name not in self.asked:
            return None
        result = CHECKS[name].run(self)
        if result.broken:
            return name
        return self._cause(result.root) if result.skipped and result.root else None

    def rest_on(self, name: str) -> None:
        """Skip a check that can only fail again where `name` has failed."""
        cause = self._cause(name)
        if cause is not None:
            raise CheckSkipped("it rests on a check that failed", root=cause)

    def _require_tensors(self, need):
        y_true, y_pred = self.sample
        for what, given in (("y_pred", y_pred), ("y_true", y_true)):
            if structures.is_structure(given):
                raise CheckSkipped(
                    f"{what} is {structures.describe(given)}; `fit` gives a loss one "
                    "tensor"
                )
            if need == "one_tensor":
                return
        if y_pred.ndim < 2:
            raise CheckSkipped(
                f"y_pred has shape {y_pred.shape}; the output of a layer has two axes "
                "or more"
            )

    @functools.cached_property
    def build_problem(self) -> Optional[str]:
        """What is wrong with building the loss, or None."""
        try:
            self.loss  # noqa: B018 (may raise)
        except Exception as error:
            self.problem_type = type(error).__name__
            return describe(error)
        return None

    @functools.cached_property
    def problem(self) -> Optional[str]:
        """What is wrong with the loss on ordinary samples, or None."""
        if self.build_problem is not None:
            return self.build_problem
        try:
            self.domain  # noqa: B018 (may raise)
            self.values(*self.sample)
        except Exception as error:
            self.problem_type = type(error).__name__
            return describe(error)
        return None

    @property
    def random(self) -> bool:
        """Whether the loss draws random numbers, as it declares."""
        return bool(self.declares.get("random"))

    @contextlib.contextmanager
    def seeded(self) -> Iterator[None]:
        """One seed for whatever a loss that is declared random draws from."""
        if not self.random:
            yield
            return
        kept = random.getstate(), np.random.get_state()
        keras.utils.set_random_seed(7)
        for state, first in self._generators:
            state.assign(first)
        try:
            yield
        finally:
            random.setstate(kept[0])
            np.random.set_state(kept[1])

    @functools.cached_property
    def _generators(self):
        """[(state, value)] of the generators on the loss, which no seed resets."""
        states = [getattr(value, "state", None) for value in vars(self.loss).values()]
        return [(state, state.numpy()) for state in states if hasattr(state, "assign")]

    @functools.cached_property
    def per_sample(self) -> bool:
        values = self.values(*self.sample)
        return values.ndim >= 1 and values.shape[0] == structures.size(self.sample[0])

    @functools.cached_property
    def leak(self) -> Optional[tuple[int, Any, Any]]:
        """How one sample changes another: (index, before, after), or None."""
        y_true, y_pred = self.sample
        before = self.values(y_true, y_pred)
        other_true, other_pred = self.more(seed=1)
        for changed in (0, structures.size(y_true) - 1):
            after = self.values(
                structures.replaced(y_true, changed, other_true),
                structures.replaced(y_pred, changed, other_pred),
            )
            if after.shape != before.shape:
                return 0, before.flat[0], after.flat[0]
            off = ~np.isclose(after, before, rtol=1e-5, atol=1e-6, equal_nan=True)
            off[changed] = False
            if off.any():
                at = tuple(np.argwhere(off)[0])
                return int(at[0]), before[at], after[at]
        return None

    @property
    def independent(self) -> bool:
        return self.leak is None

    @functools.cached_property
    def has_parts(self) -> bool:
        """Not where each sample has a score for each other one, shape (N, N)."""
        shapes = [
            [leaf.shape[1:] for part in batch for leaf in structures.leaves(part)]
            for batch in (self.sample, self.more(n=self.n - 3))
        ]
        return shapes[0] == shapes[1]

    @property
    def independent_values(self) -> bool:
        """Whether a sample can be asked alone: its value is its own."""
        return self.per_sample and self.independent

    @property
    def float_labels(self) -> bool:
        """Whether the labels are one array of floats, which can be NaN."""
        y_true = self.sample[0]
        return not structures.is_structure(y_true) and y_true.dtype.kind == "f"

    # Its inputs

    @functools.cached_property
    def _chosen(self):
        asked = self._asked_domain
        if isinstance(asked, domains.Domain):
            return asked, "as given"
        if callable(asked):
            return domains.custom(asked), "as given"
        if asked is not None:
            return domains.DOMAINS[asked], "as given"
        logits = bool(_argument(self.loss, "from_logits", False))
        suggested = domains.hint(self.name, logits)
        reasons = []
        if suggested is not None:
            reason = self._unfit(suggested, strict=False)
            if reason is None:
                return suggested, "suggested by its name"
            reasons.append(f"{suggested.name}: {reason}")
        order = [domains.DOMAINS[name] for name in domains.TRIED]
        if logits:
            order.sort(key=lambda domain: domain.predicts != "logits")
        for strict in (True, False):
            for domain in order:
                reason = self._unfit(domain, strict)
                if reason is None:
                    how = "with a gradient for every sample" if strict else "finite"
                    return domain, f"the first that gives values {how}"
                reasons.append(f"{domain.name}: {reason}")
        raise ValueError(
            "No domain fits; name one with `domain`. Tried " + "; ".join(reasons[:6])
        )

    @property
    def domain(self) -> domains.Domain:
        return self._chosen[0]

    @property
    def domain_reason(self) -> str:
        return self._chosen[1]

    def _unfit(self, domain, strict):
        """Why samples of `domain` are not what the loss takes, or None."""
        y_true, y_pred = domains.draw(domain, 0, domains.SAMPLES)
        try:
            if not strict:
                self.values(y_true, y_pred)
                return None
            values, gradient = self.gradient(y_true, y_pred)
        except Exception as error:
            return describe(error)
        if not np.isfinite(values).all():
            return "values that are not finite"
        per_sample = values.ndim > 0 and values.shape[0] == len(y_true)
        if not per_sample and domain.name != "real":
            # Broadcasting labels against scores gives a value for anything.
            return "not one value per sample"
        if gradient is None or not np.isfinite(gradient).all():
            return "no finite gradient"
        alive = gradient.reshape(len(y_true), -1) != 0
        enough = alive.mean() > 0.9 if domain.elementwise else alive.any(1).all()
        if domain.name == "embeddings" and self._independent_in(y_true, y_pred):
            return "a loss of embeddings compares samples; this one does not"
        alone = domain.name in ("binary", "positive")
        if alone and self._couples_columns(y_true, y_pred, gradient):
            return "one column changes the gradient of another: classes, not bits"
        return None if enough else "no gradient for most of y_pred"

    def _couples_columns(self, y_true, y_pred, gradient):
        moved = y_pred.copy()
        moved[:, 0] *= 0.5
        _, after = self.gradient(y_true, moved)
        return not np.allclose(after[:, 1:], gradient[:, 1:], 1e-3)

    def _independent_in(self, y_true, y_pred):
        before = self.values(y_true, y_pred)
        after = self.values(y_true[1:], y_pred[1:])
        return before.shape[1:] == after.shape[1:] and np.allclose(
            before[1:], after, 1e-5
        )

    @property
    def guessed(self) -> bool:
        """Whether the domain was guessed."""
        return self.domain_reason != "as given"

    @functools.cached_property
    def sample(self) -> tuple[Any, Any]:
        """One batch, as NumPy float64 (and int32 labels)."""
        return self.more()

    def more(self, n: int = domains.SAMPLES, seed: int = 0) -> tuple[Any, Any]:
        """Another batch."""
        return domains.draw(self.domain, seed, n)

    @property
    def n(self) -> int:
        """The number of samples of the batch."""
        return structures.size(self.sample[0])

    def training_size(self) -> tuple[Any, Any]:
        """A batch with as many elements as people train on."""
        y_true, y_pred = self.sample
        if structures.is_structure(y_pred) or self.domain.ranked or self.domain.pairs:
            return self.more(n=256)
        if y_pred.ndim >= 4:  # images: 300 x 300
            return tuple(
                structures.tree_map(lambda x: _tiled(x[:2], y_pred), part)
                for part in (y_true, y_pred)
            )
        if self.domain.elementwise:
            return tuple(np.tile(x[:2], (1, 2048)) for x in (y_true, y_pred))
        # What compares all samples with all takes fewer of them.
        return self.more(n=4096 if self.independent_values else 256)

    @property
    def edges(self) -> list[tuple[str, Any, Any]]:
        """[(what, y_true, y_pred)]: the ends of the domain."""
        return self._edges[0]

    @property
    def not_checked(self) -> list[str]:
        """The ends that could not be derived from the samples of the domain."""
        return self._edges[1]

    @functools.cached_property
    def _edges(self):
        return domains.edges(self.domain, 0, domains.SAMPLES)

    # Its values

    def variant(
        self, reduction: Optional[str] = "none", dtype: Any = None, loss: Any = None
    ) -> Any:
        """The loss with another reduction or dtype, everything else untouched.

        Not by `copy.copy`, which in Keras 3 goes through the config: what a config
        forgets is a check of its own, and must not disturb all others.
        """
        loss = self.loss if loss is None else loss
        if not isinstance(loss, host.Loss):  # what a saved model gives for a function
            loss = FunctionLoss(loss, name="loss")
        twin = object.__new__(type(loss))
        twin.__dict__.update(vars(loss))
        if reduction is not Ellipsis:
            twin.reduction = reduction
        if dtype is not None:
            _set_dtype(twin, dtype)
        return twin

    def call(
        self,
        y_true: Any,
        y_pred: Any,
        weight: Any = None,
        loss: Any = None,
        **variant: Any,
    ) -> Any:
        """The loss of arrays or tensors, eagerly, as a tensor.

        y_pred gets the variant's dtype (float32 without one), and so does a y_true
        that is not made of integers.
        """
        dtype = variant.get("dtype") or "float32"
        with arrays.precision(dtype):
            return self._call(y_true, y_pred, weight, loss, dtype, variant)

    def _call(self, y_true, y_pred, weight, loss, dtype, variant):
        y_true, y_pred = tensors(y_true, y_pred, dtype)
        loss = self.variant(loss=loss, **variant)
        how = {}
        if weight is not None:
            if isinstance(weight, np.ndarray) and weight.dtype.kind == "f":
                weight = arrays.tensor(weight, dtype)
            how["sample_weight"] = weight
        with self.seeded():
            return arrays.tensor(loss(y_true, y_pred, **how), dtype)

    def values(
        self,
        y_true: Any,
        y_pred: Any,
        weight: Any = None,
        loss: Any = None,
        **variant: Any,
    ) -> NDArray[Any]:
        """As `call`, as a NumPy array, bfloat16 widened."""
        return arrays.to_numpy(self.call(y_true, y_pred, weight, loss, **variant))

    def gradient(
        self, y_true: Any, y_pred: Any, loss: Any = None, dtype: str = "float32"
    ) -> tuple[NDArray[Any], Optional[NDArray[Any]]]:
        """The values, and the gradient of their sum in y_pred, or None.

        The gradient in a structure is one row for each sample.
        """
        loss = self.variant(loss=loss, dtype=None if dtype == "float32" else dtype)
        with arrays.precision(dtype), self.seeded():
            y_true, y_pred = tensors(y_true, y_pred, dtype)
            values, gradient = values_and_gradient(loss, y_true, y_pred)
        return arrays.to_numpy(values), gradient_to_numpy(gradient)

    def weights(self, per_sample: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
        """One weight per sample in the shape of `values`: Keras does not broadcast."""
        per_sample = np.asarray(per_sample)
        shape = per_sample.shape + (1,) * (values.ndim - 1)
        return per_sample.reshape(shape) * np.ones(values.shape, per_sample.dtype)

    def sample_weight(
        self, per_sample: NDArray[Any], values: NDArray[Any]
    ) -> NDArray[Any]:
        """The same as the loss takes it in a direct call."""
        weights = self.weights(per_sample, values)
        if values.ndim == 1 and self._wants_weight_columns:
            weights = weights[:, np.newaxis]
        return weights

    @functools.cached_property
    def _wants_weight_columns(self):
        """Whether a direct call refuses weights (N,), and takes them as (N, 1)."""
        weight = np.ones(self.n, "float32")
        try:
            self.values(*self.sample, weight)
        except Exception:
            with contextlib.suppress(Exception):
                self.values(*self.sample, weight[:, np.newaxis])
                return True
        return False

    # Building it again

    @functools.cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The constructor's parameters by name, without *args and **kwargs."""
        if self.is_function:
            return {}
        try:
            found = inspect.signature(self.cls).parameters
        except (TypeError, ValueError):
            return {}
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        return {n: p for n, p in found.items() if p.kind not in kinds}

    @property
    def takes_anything(self) -> bool:
        """Whether the constructor has **kwargs."""
        return any(
            p.kind is inspect.Parameter.VAR_KEYWORD
            for p in inspect.signature(self.cls).parameters.values()
        )

    def arguments(self) -> dict[str, Any]:
        """The current value of every constructor argument that can be found."""
        config = dict(self.loss.get_config())
        found = {}
        for name, parameter in self.parameters.items():
            if name == "dtype":
                continue
            value = _argument(self.loss, name, config.get(name, parameter.default))
            if value is not inspect.Parameter.empty:
                found[name] = value
        return found

    @functools.cached_property
    def settings(self) -> list[tuple[str, Any]]:
        """[(what, instance)]: the loss, then one per constructor argument changed.

        A config that forgets an argument shows only where the argument does not have
        its default, so each gets another value, of the same type, that the loss can
        be built and called with.
        """
        return [("as given", self.loss)] + [
            (f"{name}={other!r}", changed) for name, other, changed in self.changes
        ]

    @functools.cached_property
    def changes(self) -> list[tuple[str, Any, Any]]:
        """[(argument, other value, instance)]: arguments that change the values."""
        if self.is_function:
            return []
        try:
            arguments = self.arguments()
            self.cls(**arguments)
        except Exception:
            return []
        found = []
        for name, value in arguments.items():
            if name in ("name", "reduction"):
                continue
            for other in _others(value):
                try:
                    changed = self.cls(**{**arguments, name: other})
                    values = self.values(*self.sample, loss=changed)
                except Exception:
                    continue
                if not np.isfinite(values).all():
                    continue
                if _differ(values, self._plain):
                    found.append((name, other, changed))
                    break
        return found

    @functools.cached_property
    def _plain(self):
        return self.values(*self.sample)

    def without_effect(self) -> dict[str, list[Any]]:
        """{argument: values tried}: those that change nothing, wherever they are tried.

        Tried are the ordinary samples and the ends of the domain. What the loss reads
        while it is called counts as an effect, as of an epsilon that no sample needs.
        """
        if self.is_function or self.problem is not None:
            return {}
        try:
            arguments = self.arguments()
        except Exception:
            return {}
        active = {name for name, _, _ in self.changes} | self._read_in_call()
        found = {}
        for name, value in arguments.items():
            numeric = isinstance(value, (bool, int, float))
            if name in ("name", "reduction") or name in active or not numeric:
                continue
            tried = [
                other
                for other in _others(value)
                if self._is_the_same(arguments, name, other)
            ]
            if tried and len(tried) == len(_others(value)):
                found[name] = tried
        return found

    def _is_the_same(self, arguments, name, other):
        """Whether another value of an argument can be given, and changes nothing."""
        inputs = [("", *self.sample), *self.edges]
        try:
            changed = self.cls(**{**arguments, name: other})
            return not any(
                _differ(
                    self.values(y_true, y_pred, loss=changed),
                    self.values(y_true, y_pred),
                )
                for _, y_true, y_pred in inputs
            )
        except Exception:
            return False

    def _read_in_call(self):
        """The attributes that a call reads, without leading underscores."""
        read = set()
        loss = self.variant()

        class Watched(type(loss)):
            def __getattribute__(self, name):
                read.add(name.lstrip("_"))
                return super().__getattribute__(name)

        loss.__class__ = Watched
        for _, y_true, y_pred in [("", *self.sample), *self.edges]:
            with contextlib.suppress(Exception), self.seeded():
                loss(*tensors(y_true, y_pred))
        # Keras's wrapper of a function, or a loss that hands itself on, reads all.
        if read & {"fn_kwargs", "dict__"}:
            read |= set(self.parameters)
        return read


def _tiled(x, like):
    """Images of 300 x 300; an axis that `like` does not have is left alone."""
    if x.ndim != like.ndim:
        return x
    times = [-(-300 // length) for length in x.shape[1:-1]]
    index = (slice(None), *[slice(300)] * len(times))
    return np.tile(x, (1, *times, 1))[index]


def _differ(values, others):
    return values.shape != others.shape or not np.array_equal(
        values, others, equal_nan=True
    )


def _kind(given):
    if inspect.isclass(given):
        if not issubclass(given, host.Loss):
            raise TypeError(
                f"{given.__name__} is no loss: it does not derive from "
                f"{host.PACKAGE}.losses.Loss, the Loss of the Keras in use."
            )
        return "class"
    if isinstance(given, host.Loss):
        return "instance"
    if not callable(given):
        raise TypeError(
            f"Expected a Loss class, an instance, a factory or a function of y_true "
            f"and y_pred. Received: {given!r}."
        )
    try:
        parameters = inspect.signature(given).parameters.values()
    except (TypeError, ValueError):
        return "function"
    positional = [
        p
        for p in parameters
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        and p.default is p.empty
    ]
    anything = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return "function" if len(positional) >= 2 or anything else "factory"


def _argument(loss, name, default):
    """The value of a constructor argument, where the loss keeps it under its name."""
    for holder in (vars(loss), vars(loss).get("_fn_kwargs", {})):
        for key in (name, "_" + name):
            if key in holder:
                return holder[key]
    return default


def _others(value):
    """Other values of the kind of `value`, in the order in which to try them."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value - 1] if value < 0 else [value + 1, value + 2, value - 1]
    if isinstance(value, float):
        return list(
            dict.fromkeys([value * 0.5 + 0.1, value * 0.5, value * 2.0, value + 1.0])
        )
    if value is None:
        return [1, 0.5, -1]
    if isinstance(value, (list, tuple)) and all(isinstance(v, float) for v in value):
        return [type(value)(v * 0.5 + 0.1 for v in value)] if value else []
    return []


def _set_dtype(loss, dtype):
    if "_dtype_policy" in vars(loss):
        loss._dtype_policy = keras.dtype_policies.get(dtype)
        loss._dtype = loss._dtype_policy.compute_dtype
    elif host.GENERATION == 3 or "dtype" in vars(loss):
        loss.dtype = dtype


def tensors(y_true: Any, y_pred: Any, dtype: Any = "float32") -> tuple[Any, Any]:
    """Both as tensors; integers stay what they are, tensors too."""

    def convert(x):
        return arrays.tensor(x, dtype)

    return structures.tree_map(convert, y_true), structures.tree_map(convert, y_pred)


def values_and_gradient(loss: Any, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """The values of `loss` and the gradient of their sum, eagerly or in a graph.

    The gradient in a structure is a list, one for each leaf; None where no leaf has
    one.
    """
    watched = structures.leaves(y_pred)

    def of_leaves(watched):
        return loss(y_true, structures.unflatten(y_pred, watched))

    values, found = arrays.value_and_gradients(of_leaves, watched)
    if all(gradient is None for gradient in found):
        return values, None
    if not structures.is_structure(y_pred):
        return values, found[0]
    return values, [
        leaf * 0 if gradient is None else gradient
        for gradient, leaf in zip(found, watched)
    ]


def gradient_to_numpy(gradient: Any) -> Optional[NDArray[Any]]:
    """As an array: one row for each sample, where it is the gradient in a structure."""
    if isinstance(gradient, (list, tuple)):
        return structures.rows([arrays.to_numpy(part) for part in gradient])
    return None if gradient is None else arrays.to_numpy(gradient)


@functools.cache
def host_loss(name: str) -> LossUnderTest:
    """A loss of the host, to tell what the host itself does wrong."""
    return LossUnderTest(getattr(keras.losses, name))

"""What a loss is as a whole, for a record, on any backend.

What is public, with which arguments, defaults and config; what a loss gives once it has
been saved and loaded; and the losses of a small training. Of Keras's losses, of ours,
and of the user's own. Ours are asked on TensorFlow, where they run.
"""

import contextlib
import inspect
import io
import os
import pickle
import re
import tempfile
import warnings
from typing import Any

import numpy as np

from keras_losses_ref import host
from keras_losses_ref.conformance import arrays, files
from keras_losses_ref.conformance.cases import REDUCTIONS
from keras_losses_ref.conformance.checks import construction
from keras_losses_ref.conformance.checks.loss_under_test import (
    LossUnderTest,
    load_target,
    tensors,
    values_and_gradient,
)

if host.BACKEND == "tensorflow":
    from keras_losses_ref import losses
else:
    losses = None

__all__ = [
    "answers_of_builtin",
    "answers_of_loss",
    "answers_of_model",
    "load_target",
    "public_answers",
    "public_names",
]

#: How often the small training sees its batches.
_EPOCHS = 3

#: How many samples of the user's data make a batch.
_BATCH = 32

# --- names, arguments, configs --------------------------------------------------------


def public_names() -> set[str]:
    """The public names of Keras's losses and ours."""
    return {*dir(host.keras.losses), *_our_names()}


def _our_names():
    return [] if losses is None else losses.__all__


def public_answers(implementation: str) -> dict[str, Any]:
    """Every public name of losses, what it stands for, and what it can be asked by."""
    module = _module(implementation)
    if module is None:
        return {}
    with _without_warnings():
        return _public_answers(implementation, module)


def _module(implementation):
    return losses if implementation == "ours" else host.keras.losses


def _public_answers(implementation, module):
    answers = {}
    public = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value)
    }
    if implementation == "ours":
        public = {name: getattr(losses, name) for name in losses.__all__}
    for name, value in public.items():
        answer = {"loss": name, **_public(value)}
        if value.__name__ != name:
            answer = {"loss": value.__name__, "alias_of": value.__name__}
        answers[f"{implementation}:{name}"] = answer
    for name in sorted({*public, *_our_names()} - {"Loss"}):
        try:
            found = module.get(name)
            got = getattr(found, "__name__", type(found).__name__)
            answer = {"loss": got, "gives": got}
        except Exception as error:
            answer = {"loss": name, "error": type(error).__name__}
        answers[f"{implementation}:get({name!r})"] = answer
    for reduction in (*REDUCTIONS, "auto"):
        try:
            module.MeanSquaredError(reduction=reduction)
            answer = {"loss": "Loss", "accepted": True}
        except Exception as error:
            answer = {"loss": "Loss", "error": type(error).__name__}
        answers[f"{implementation}:Loss(reduction={reduction!r})"] = answer
    return answers


def _public(value):
    """The interface of a class or function: arguments, defaults, name, config."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        value = type(value)  # an instance
    answer = {"is_class": inspect.isclass(value)}
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return answer
    answer["arguments"] = [
        [p.name, None if p.default is p.empty else repr(files.plain_config(p.default))]
        for p in parameters
    ]
    bases = (host.Loss, getattr(losses, "Loss", None))
    if inspect.isclass(value) and value not in bases:
        try:
            loss = value()
            config = files.plain_config(loss.get_config())
        except Exception:
            return answer  # one that needs arguments
        # Keras counts the instances of a class that has no name of its own.
        answer["default_name"] = config["name"] = re.sub(r"_\d+$", "", str(loss.name))
        answer["config"] = config
    return answer


# --- saved, loaded, trained -----------------------------------------------------------


def answers_of_builtin(implementation: str, name: str) -> dict[str, Any]:
    """A loss of Keras's or ours under each argument: as it is, loaded, in training."""
    cls = getattr(_module(implementation), name, None)
    if cls is None:
        return {}
    with _without_warnings():
        return _answers(implementation, name, LossUnderTest(cls), everywhere=False)


def answers_of_loss(name: str, loss: Any) -> dict[str, Any]:
    """The same of a loss of the user's, on every path and in every dtype as well."""
    with _without_warnings():
        public = {f"user:{name}": {"loss": name, **_public(loss)}}
        found = _answers("user", name, LossUnderTest(loss), everywhere=True)
        return {**public, **found}


@contextlib.contextmanager
def _without_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _answers(implementation, name, subject, everywhere):
    if subject.problem is not None:
        said = {"error": subject.problem_type, "message": subject.problem}
        return {f"{implementation}:{name}[eager]": {"loss": name, **said}}
    answers = {}
    for what, loss in subject.settings:
        given = "" if what == "as given" else f"({what})"
        for way, ask in _ways(subject, loss, everywhere, given):
            try:
                answer = ask()
            except Exception as error:
                answer = {"error": type(error).__name__}
            answers[f"{implementation}:{name}{given}[{way}]"] = {"loss": name, **answer}
    return answers


def _ways(subject, loss, everywhere, given):
    """(name, function that gives an answer) for each way in which a loss is asked."""
    yield "eager", lambda: _values(subject, loss)
    if not subject.is_function:
        for way, travel in (
            ("config", _through_config),
            (".keras", _through_file),
            ("pickle", _through_pickle),
        ):
            yield way, lambda travel=travel: _values(subject, travel(subject, loss))
    if not given:
        yield "epochs", lambda: _epochs(subject, loss)
    if everywhere:
        for path in ("graph", "xla") if losses else ("xla",):
            yield path, lambda path=path: _values(subject, loss, path)
        for dtype in ("float64", "float16", "bfloat16"):
            yield dtype, lambda dtype=dtype: _values(subject, loss, "eager", dtype)


def _values(subject, loss, path="eager", dtype="float32"):
    loss = subject.variant(loss=loss, dtype=None if dtype == "float32" else dtype)

    def ask(y_true, y_pred):
        return values_and_gradient(loss, y_true, y_pred)

    if path != "eager":
        ask = arrays.compiled(ask, xla=path == "xla")
    with arrays.precision(dtype):
        values, gradient = ask(*tensors(*subject.sample, dtype))
        answer = {"value": _plain(values), "dtype": arrays.dtype_of(values)}
        if gradient is not None:
            answer["gradient"] = _plain(gradient)
    return answer


def _plain(tensor):
    return files.plain(arrays.to_numpy(tensor), arrays.dtype_of(tensor))


def _through_config(subject, loss):
    serialized = host.keras.losses.serialize(loss)
    with host.keras.utils.custom_object_scope(subject.custom_objects()):
        return host.keras.losses.deserialize(serialized)


def _through_file(subject, loss):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        construction.save_model(subject, loss, path)
        return construction.load_loss(path, subject.custom_objects())


def _through_pickle(subject, loss):
    file = io.BytesIO()
    pickle.dump(loss, file)
    file.seek(0)
    return pickle.load(file)  # of our own making, a moment ago


def _epochs(subject, loss):
    """The loss of each epoch of a training that is the same in every environment."""
    model = construction.identity_model(subject, loss)
    y_true, y_pred = subject.sample
    history = model.fit(
        y_pred.astype("float32"),
        y_true.astype("float32") if y_true.dtype.kind == "f" else y_true,
        batch_size=len(y_pred) // 2,
        epochs=_EPOCHS,
        shuffle=False,
        verbose=0,
    )
    losses_ = np.asarray(history.history["loss"])
    return {
        "value": files.plain(losses_, "float32"),
        "dtype": "float32",
        "kind": "training",
    }


def answers_of_model(path: str, data: str) -> dict[str, Any]:
    """The loss of the user's own model and its gradient, batch by batch."""
    with _without_warnings():
        return _of_model(path, data)


def _of_model(path, data):
    name = os.path.basename(path)
    try:
        with np.load(data, allow_pickle=False) as file:
            given = {key: file[key] for key in file.files}
        x, y = given["x"], given["y"]
    except (ValueError, KeyError) as error:
        raise files.Unreadable(
            f"{data} holds no data for {name}: {error}. Expected an .npz file with "
            "arrays x and y, and sample_weight if there are weights."
        ) from None
    os.stat(path)  # a file that is not there is the user's, not a finding
    try:
        model = host.keras.models.load_model(path)
    except Exception as error:
        return {f"user:{name}": {"loss": name, "error": type(error).__name__}}
    answers, weights = {}, given.get("sample_weight")
    for number, start in enumerate(range(0, len(x), _BATCH)):
        part = slice(start, start + _BATCH)
        weight = None if weights is None else weights[part]
        loss, gradients = arrays.model_gradients(model, x[part], y[part], weight)
        answers[f"user:{name}[batch {number}]"] = _many(name, "value", loss)
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                identifier = f"user:{name}[batch {number}, weights {index}]"
                answers[identifier] = _many(name, "gradient", gradient)
    return answers


def _many(name, aspect, tensor):
    """An answer in which the rounding errors of a whole model have added up."""
    return {
        "loss": name,
        aspect: _plain(tensor),
        "dtype": arrays.dtype_of(tensor),
        "kind": "training",
    }

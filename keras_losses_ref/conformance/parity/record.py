"""What every loss does in this environment, as the answers of a record.

Four questions are put to Keras's losses, to ours and to the user's own: the corpus of
cases (not to the user's, which it does not know); what is public, with which arguments,
defaults and config; what a loss gives when it has been saved and loaded; and the losses
of a small training. Nothing here judges: `compare` of two records does.
"""

import fnmatch
import inspect
import io
import os
import pickle
import re
import tempfile
import warnings

import numpy as np
import tensorflow as tf

from keras_losses_ref import losses
from keras_losses_ref.conformance import check, checks, deviations
from keras_losses_ref.conformance.cases import HANDWRITTEN, REDUCTIONS
from keras_losses_ref.conformance.checks import construction
from keras_losses_ref.conformance.checks.loss_under_test import (
    LossUnderTest,
    tensors,
    to_numpy,
    values_and_gradient,
)
from keras_losses_ref.conformance.parity import record_file
from keras_losses_ref.conformance.verdict import AGREE, ORACLE_SUSPECT, OURS_WRONG
from keras_losses_ref.losses import compat

#: The aspects of an outcome that are arrays.
_ARRAYS = ("value", "gradient", "second")

#: How often the small training sees its batches.
_EPOCHS = 3

#: How many samples of the user's data make a batch.
_BATCH = 32


def select(patterns=None, paths=None, device="CPU:0"):
    """(cases, names of losses): what to ask, all of it unless `patterns` are given.

    A pattern with a slash is over the ids of the corpus; one without is over what is
    asked of a loss as a whole, "Huber(delta=0.6)[.keras]", and selects the loss.
    """
    everything = [name for name in HANDWRITTEN if hasattr(losses, name)]
    if patterns is None:
        return check.select(paths=paths, device=device), everything
    of_cases = [pattern for pattern in patterns if "/" in pattern]
    of_losses = [pattern for pattern in patterns if "/" not in pattern]
    cases = []
    if of_cases or not of_losses:
        cases = check.select(patterns=of_cases, paths=paths, device=device)
    asked = {re.split(r"[(\[]", pattern)[0] for pattern in of_losses}
    names = [n for n in everything if any(fnmatch.fnmatchcase(n, a) for a in asked)]
    # Public names are asked in any case: `get('mse')`, `huber`, `Loss(reduction=...)`.
    public = {*dir(compat.keras.losses), *losses.__all__, *names, "get", "Loss"}
    unknown = [a for a in asked if not fnmatch.filter(public, a)]
    if unknown:
        raise check.NothingSelected(
            f"no loss has this name. Received: {', '.join(unknown)}. Expected one "
            f"of: {', '.join(everything)}, or the id of a case."
        )
    return cases, names


def where(found):
    """The versions of a record in a few words."""
    environment = found.environment
    return (
        f"TensorFlow {environment['tensorflow']}, {environment['keras_package']} "
        f"{environment['keras']}"
    )


def record(cases, names, targets=(), models=(), progress=None):
    """The answers of this environment as a `record_file.Record`.

    cases     of the corpus
    names     of the losses to save, load and train with
    targets   losses of the user's own, "package.module:name"
    models    pairs of a model's file and an .npz with x, y and perhaps sample_weight
    progress  called with (number of questions answered, what is asked)
    """
    answers = {}
    done = 0

    def step(what):
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, what)

    given = {target: checks.load_target(target) for target in targets}
    result = check.check(
        cases,
        lambda _, case: step(f"{case.loss} {case.path}"),
        jobs=check.jobs_for(cases),
    )
    answers.update(_of_cases(result.results))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for implementation, module in (
            ("keras", compat.keras.losses),
            ("ours", losses),
        ):
            answers.update(_public_names(implementation, module))
            for name in names:
                if hasattr(module, name):
                    subject = LossUnderTest(getattr(module, name))
                    answers.update(_of_subject(implementation, name, subject))
                if implementation == "keras":  # ours waits for the end of it
                    step(f"{name} saved and trained")
        for target, loss in given.items():
            name = target.partition(":")[2]
            answers[f"user:{name}"] = {"loss": name, **_public(loss)}
            answers.update(
                _of_subject("user", name, LossUnderTest(loss), everywhere=True)
            )
            step(target)
        for model, data in models:
            answers.update(_of_model(model, data))
            step(model)
    matched = {
        name
        for answer in answers.values()
        for name in answer.get("matches", {}).values()
    }
    entries = {
        entry.id: {"sentence": entry.sentence, "thread": entry.thread}
        for entry in deviations.DEVIATIONS
        if entry.id in matched
    }
    return record_file.Record(answers, result.environment, entries)


def _of_cases(results):
    """The outcomes behind the verdicts of `check`, and whose answer each one is."""
    answers = {}
    for verdict in results:
        if verdict.aspect == "ledger":
            continue  # about an entry, not about a case
        for implementation in ("keras", "ours"):
            identifier = f"{implementation}:{verdict.id}"
            if identifier not in answers:
                outcome = getattr(verdict, implementation)
                answers[identifier] = _answer(verdict.case, outcome)
            answers[identifier]["matches"][verdict.aspect] = _whose(
                verdict, implementation
            )
    for answer in answers.values():
        # What was not judged is nobody's; what is the definition's needs no words.
        judged = answer["matches"]
        if judged.get("shape", "definition") != "definition":
            judged["value"] = judged["shape"]  # values of two shapes are not compared
        taken = judged.get("error")  # by an entry: the definition has no value here
        unjudged = None if taken == "definition" else taken
        for aspect in {*_ARRAYS, "config"} & set(answer):
            judged.setdefault(aspect, unjudged)
        answer["matches"] = {k: v for k, v in judged.items() if v != "definition"}
    return answers


def _answer(case, outcome):
    answer = {"loss": case.loss, "matches": {}}
    if outcome.unsupported is not None:
        answer["absent"] = outcome.unsupported
    for aspect in ("error", "dtype"):
        if getattr(outcome, aspect) is not None:
            answer[aspect] = getattr(outcome, aspect)
    for aspect in _ARRAYS:
        found = getattr(outcome, aspect, None)
        if found is None:
            continue
        if aspect != "value" and np.shape(found) == case.y_pred.shape:
            # There is no derivative at a NaN: whatever stands there is no change.
            found = np.where(np.isnan(case.y_pred), np.nan, found)
        answer[aspect] = record_file.plain(found, outcome.dtype)
    if getattr(outcome, "config", None) is not None:
        answer["config"] = _json(outcome.config)
    return answer


def _whose(verdict, implementation):
    """The definition's, a ledger entry's, or nobody's (None)."""
    if verdict.skipped:
        return None
    if implementation == "ours":
        wrong = (OURS_WRONG, ORACLE_SUSPECT)
        return None if verdict.verdict in wrong else "definition"
    if verdict.verdict == AGREE:
        return "definition"
    return verdict.deviation


# --- names, arguments, configs --------------------------------------------------------


def _public_names(implementation, module):
    """Every public name of losses, what it stands for, and what it can be asked by."""
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
    for name in sorted({*public, *losses.__all__} - {"Loss"}):
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
    """What a caller sees of a class or function: arguments, defaults, name, config."""
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        value = type(value)  # an instance
    answer = {"is_class": inspect.isclass(value)}
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return answer
    answer["arguments"] = [
        [p.name, None if p.default is p.empty else repr(_json(p.default))]
        for p in parameters
    ]
    if inspect.isclass(value) and value not in (compat.Loss, losses.Loss):
        try:
            loss = value()
            config = _json(loss.get_config())
        except Exception:
            return answer  # one that needs arguments
        # Keras counts the instances of a class that has no name of its own.
        answer["default_name"] = config["name"] = re.sub(r"_\d+$", "", str(loss.name))
        answer["config"] = config
    return answer


def _json(value):
    """A config as plain JSON; of anything else its type, which has no address."""
    if isinstance(value, dict):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)) or tf.is_tensor(value):
        return record_file.plain(np.asarray(value))
    if isinstance(value, float):
        return record_file.plain(value, "float64")
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return getattr(value, "__name__", type(value).__name__)


# --- saved, loaded, trained -----------------------------------------------------------


def _of_subject(implementation, name, subject, everywhere=False):
    """One loss under each argument: as it is, saved and loaded, and in training.

    `everywhere` also asks it on every path and in every dtype, which the corpus does
    for Keras's and ours.
    """
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
        for path in ("graph", "xla"):
            yield path, lambda path=path: _values(subject, loss, path)
        for dtype in ("float64", "float16", "bfloat16"):
            yield dtype, lambda dtype=dtype: _values(subject, loss, "eager", dtype)


def _values(subject, loss, path="eager", dtype="float32"):
    loss = subject.variant(loss=loss, dtype=None if dtype == "float32" else dtype)
    ask = values_and_gradient
    if path != "eager":
        ask = tf.function(ask, jit_compile=path == "xla", autograph=False)
    values, gradient = ask(loss, *tensors(*subject.sample, dtype))
    answer = {
        "value": record_file.plain(to_numpy(values), values.dtype.name),
        "dtype": values.dtype.name,
    }
    if gradient is not None:
        answer["gradient"] = record_file.plain(to_numpy(gradient), gradient.dtype.name)
    return answer


def _through_config(subject, loss):
    serialized = compat.keras.losses.serialize(loss)
    with compat.keras.utils.custom_object_scope(subject.custom_objects()):
        return compat.keras.losses.deserialize(serialized)


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
        "value": record_file.plain(losses_, "float32"),
        "dtype": "float32",
        "kind": "training",
    }


def _of_model(path, data):
    """The loss of the user's own model and its gradient, batch by batch."""
    name = os.path.basename(path)
    try:
        with np.load(data, allow_pickle=False) as arrays:
            arrays = {key: arrays[key] for key in arrays.files}
        x, y = arrays["x"], arrays["y"]
    except (ValueError, KeyError) as error:
        raise record_file.Unreadable(
            f"{data} holds no data for {name}: {error}. Expected an .npz file with "
            "arrays x and y, and sample_weight if there are weights."
        ) from None
    os.stat(path)  # a file that is not there is the user's, not a finding
    try:
        model = compat.keras.models.load_model(path)
    except Exception as error:
        return {f"user:{name}": {"loss": name, "error": type(error).__name__}}
    answers, weights = {}, arrays.get("sample_weight")
    for number, start in enumerate(range(0, len(x), _BATCH)):
        part = slice(start, start + _BATCH)
        weight = None if weights is None else tf.constant(weights[part])
        with tf.GradientTape() as tape:
            y_pred = model(tf.constant(x[part]), training=False)
            loss = model.compute_loss(
                x=None, y=tf.constant(y[part]), y_pred=y_pred, sample_weight=weight
            )
        variables = [v if isinstance(v, tf.Variable) else v.value
                     for v in model.trainable_variables]  # fmt: skip
        gradients = tape.gradient(loss, variables)
        answers[f"user:{name}[batch {number}]"] = _many(name, "value", loss)
        for index, gradient in enumerate(gradients):
            if gradient is not None:
                identifier = f"user:{name}[batch {number}, weights {index}]"
                answers[identifier] = _many(name, "gradient", gradient)
    return answers


def _many(name, aspect, tensor):
    """An answer in which the rounding errors of a whole model have added up."""
    tensor = tf.convert_to_tensor(tensor)
    return {
        "loss": name,
        aspect: record_file.plain(to_numpy(tensor), tensor.dtype.name),
        "dtype": tensor.dtype.name,
        "kind": "training",
    }

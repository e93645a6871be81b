"""Find the release that changed an answer, and the shortest code that shows it.

A binary search over the releases between the two given ones that pip can install here.
Each runs in an environment of its own, which is cached. If the answer changed several
times in between, one of the changes is found.
"""

import ast
import dataclasses
import difflib
import json
import math
import os
import re
import shlex
import subprocess
import sys
import tempfile
from importlib import metadata
from typing import Any, Callable, Optional, Union

import numpy as np

from keras_losses_ref.conformance import cases
from keras_losses_ref.conformance.cases import DEFAULT
from keras_losses_ref.conformance.parity import ParityError, diff, upgrade, venvs
from keras_losses_ref.conformance.parity.venvs import name_of

#: How many times the inputs of a snippet are made smaller.
_ROUNDS = 6

#: Runs snippets out of a file of JSON and prints what each printed, as JSON.
_RUNNER = """
import contextlib, io, json, sys, warnings
warnings.simplefilter("ignore")
said = []
for code in json.load(open(sys.argv[1])):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(code, {})
        said.append(out.getvalue().strip())
    except Exception as error:
        said.append(type(error).__name__)
print("\\n" + json.dumps(said))
"""


@dataclasses.dataclass(frozen=True)
class BisectResult:
    """The first release in which an answer changed."""

    package: str
    before: str
    release: str
    change: diff.Change
    deviations: dict[str, Any]
    #: Code that prints another thing in each of the two, and what it prints; "" if
    #: none of a few lines does.
    snippet: str = ""
    prints: tuple[str, ...] = ()
    #: Releases that could not be run, and why.
    skipped: tuple[tuple[str, str], ...] = ()

    def text(self) -> str:
        """For a person."""
        change = self.change
        lines = [
            f"{change.full_id}",
            f"changed in {self.package} {self.release}",
            f"  {self.before}: {_told(change.old)}",
            f"  {self.release}: {_told(change.new)}",
        ]
        for name, entry in self.deviations.items():
            lines += [f"  {name}: {entry['sentence']}", f"    {entry['thread']}"]
        for release, why in self.skipped:
            lines.append(f"  {release} was skipped: {why}")
        if self.snippet:
            old, new = (text.replace("\n", " ") for text in self.prints)
            lines += [
                "",
                self.snippet,
                "",
                f"# {self.before}: {old}",
                f"# {self.release}: {new}",
            ]
        else:
            question = shlex.quote(change.question)
            lines += [
                "",
                "No short program shows it. Run in each of the two:",
                f"  keras-losses-ref check --case {question} --all",
            ]
        return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class Unchanged:
    """Both ends give the same answer: there is nothing to find."""

    package: str
    first: str
    last: str
    full_id: str
    #: The largest change, where rounding moved the answer.
    ulp: float = 0.0

    def text(self) -> str:
        """For a person."""
        lines = [
            self.full_id,
            f"no change: {self.package} {self.first} and {self.last} give the same "
            "answer",
        ]
        if self.ulp:
            lines.append(
                f"  except for rounding: {self.ulp:.3g} ulp, within the tolerance of "
                "one truth"
            )
        return "\n".join(lines) + "\n"


def _told(value):
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def bisect(
    identifier: str,
    old: str,
    new: str,
    build_options: venvs.BuildOptions,
    on_progress: Optional[Callable[[str, str, float], object]] = None,
) -> Union[BisectResult, Unchanged]:
    """Find the first release that changed an answer.

    identifier  as `compare` prints it, "keras:huber/x[...] value at [0]"; without an
                implementation it is Keras's, without an aspect any
    old, new    requirements, one string each, that differ in one package

    Returns a `BisectResult`, or `Unchanged` where both ends give the same answer.
    """
    on_progress = on_progress or (lambda side, what, part: None)
    identifier, aspect = diff.parse_id(identifier)
    question = identifier.partition(":")[2]
    _check_known(question, aspect)
    package, steps = _releases(shlex.split(old), shlex.split(new), build_options)
    skipped, answers = [], {}
    with upgrade.RecordRunner() as children:

        def ask(index):
            release, requirements = steps[index]
            if index not in answers:
                on_progress(release, "asking", 0.0)
                built = venvs.build(
                    requirements, build_options, lambda w: on_progress(release, w, 0.0)
                )
                record = children.record(built, ["--case", question])
                answers[index] = built, record
                on_progress(release, "done", 1.0)
            return answers[index]

        def moved(index):
            found = diff.compare(ask(0)[1], ask(index)[1]).changes
            found = [c for c in found if c.id == identifier]
            return [c for c in found if aspect in (None, c.aspect)]

        def changed(index):
            return [c for c in moved(index) if c.kind != diff.ROUNDING]

        low, high = 0, len(steps) - 1
        if not changed(high):
            ends = [ask(index)[1].answers for index in (low, high)]
            _check_asked(identifier, aspect, *ends)
            return Unchanged(
                package,
                steps[low][0],
                steps[high][0],
                " ".join(filter(None, (identifier, aspect))),
                max((change.ulp for change in moved(high)), default=0.0),
            )
        open_ = list(range(1, high))
        while open_:
            middle = open_[len(open_) // 2]
            try:
                later = bool(changed(middle))
            except ParityError as error:
                why = str(error).splitlines()
                skipped.append((steps[middle][0], why[-1].strip()))
                open_.remove(middle)
                continue
            low, high = (low, middle) if later else (middle, high)
            open_ = [index for index in open_ if low < index < high]
        result = diff.compare(ask(low)[1], ask(high)[1])
        wanted = {c.full_id for c in changed(high)}
        change = min(
            (c for c in result.changes if c.full_id in wanted),
            key=lambda c: c.aspect != "value",
        )
        on_progress("snippet", "shrinking", 0.0)
        snippet, prints = _shortest(change, children, [ask(low)[0], ask(high)[0]])
    entries = (change.explained_by or "").split(", ")
    return BisectResult(
        package,
        steps[low][0],
        steps[high][0],
        change,
        {name: text for name, text in result.deviations.items() if name in entries},
        snippet,
        prints,
        tuple(skipped),
    )


def _check_known(question, aspect):
    """Refuse an unknown case or aspect, before anything is built."""
    if "/" not in question:
        return
    known = {case.id: case for case in cases.corpus(full=True)}
    if question not in known:
        close = difflib.get_close_matches(question, known, n=3)
        raise ParityError(
            f"no case has this id. Received: {question!r}. Expected one of those that "
            f"`keras-losses-ref list --cases` shows, such as {', '.join(close)}."
        )
    case = known[question]
    aspects = ["value", "gradient", "dtype", "error", "error type"]
    aspects += ["second"] if case.check_hessian else []
    aspects += ["config"] if case.path == "reloaded" else []
    _check_aspect(aspect, aspects, question)


def _check_asked(identifier, aspect, old, new):
    """Refuse an id that is in neither record, and an aspect that it does not have."""
    if identifier not in {*old, *new}:
        question = identifier.partition(":")[2]
        known = sorted({*old, *new})
        close = difflib.get_close_matches(identifier, known, n=5) or known[:5]
        raise ParityError(
            f"no answer has this id. Received: {question!r}. Expected one like: "
            f"{', '.join(close)}."
        )
    if aspect is not None:
        answers = [side.get(identifier, {}) for side in (old, new)]
        _check_aspect(aspect, diff.aspects_of(*answers), identifier)


def _check_aspect(aspect, aspects, identifier):
    if aspect is not None and aspect not in aspects:
        raise ParityError(
            f"{identifier} has no such aspect. Received: {aspect!r}. Expected one of: "
            f"{', '.join(sorted(aspects))}."
        )


# --- releases -------------------------------------------------------------------------


def _releases(old, new, build_options):
    """(package, [(release, requirements)]) from the old ones to the new ones."""
    backends = (*venvs.TENSORFLOWS, "jax")
    if not any(name_of(word) in backends for word in [*old, *new]):
        tensorflow = _installed_tensorflow()
        old, new = [tensorflow, *old], [tensorflow, *new]
    changed_old = [word for word in old if word not in new]
    changed_new = [word for word in new if word not in old]
    if len(changed_old) != 1 or len(changed_new) != 1:
        raise ParityError(
            "the two requirements must differ in one package. Received: "
            f"{' '.join(old)!r} and {' '.join(new)!r}. Expected for example "
            "'tensorflow-cpu==2.21.0 keras==3.4.1' and "
            "'tensorflow-cpu==2.21.0 keras==3.15.1'."
        )
    (first,), (last,) = changed_old, changed_new
    package = name_of(first)
    rest = [word for word in old if word != first]
    listed = _listed(package, build_options)
    start = _position(listed, first)
    # A nightly comes after every release of what it replaces.
    replaced = venvs.REPLACES.get(name_of(last))
    stop = len(listed) if replaced == package else _position(listed, last)
    if name_of(last) not in (package, replaced) and replaced != package:
        raise ParityError(
            "the two requirements must be of one package. Received: "
            f"{first} and {last}. Expected for example keras==3.4.1 and keras==3.15.1."
        )
    if stop < start:
        raise ParityError(
            f"the older release comes first. Received: {first}, which is newer than "
            f"{last}. Swap the two."
        )
    steps = [(r, [*rest, f"{package}=={r}"]) for r in listed[start : stop + 1]]
    if replaced == package:
        steps.append((last, [*rest, last]))
    return package, steps


def _position(listed, requirement):
    version = requirement.partition("==")[2].strip()
    if version not in listed:
        raise ParityError(
            f"no such release can be installed here. Received: {requirement!r}. "
            f"Expected name==version with one of: {', '.join(listed[-30:])}."
        )
    return listed.index(version)


def _listed(package, build_options):
    """The releases of a package that can be installed here, oldest first."""
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True).returncode:
        if not build_options.uv:
            raise ParityError("listing releases needs pip: python -m ensurepip")
        command = [build_options.uv, "tool", "run", "--quiet", "pip"]
    options = []
    if re.fullmatch(r"\d+\.\d+", build_options.python):
        options = ["--python-version", build_options.python, "--only-binary", ":all:"]
    text = venvs.run_command(
        [*command, "index", "versions", package, *build_options.links, *options]
    )
    found = re.search(r"^Available versions: (.+)$", text, re.MULTILINE)
    return found[1].split(", ")[::-1]


def _installed_tensorflow():
    for name in venvs.TENSORFLOWS:
        try:
            return f"{name}=={metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    raise ParityError(
        "no TensorFlow is named or installed. Name one in both, such as "
        "'tensorflow-cpu==2.21.0 keras==3.15.1'."
    )


# --- the snippet ----------------------------------------------------------------------


def _shortest(change, children, built):
    """(code, what it prints in each environment) that shows a change, or ("", ())."""
    case = _case_of(change)
    on_jax = built[1].variables.get("KERAS_BACKEND") == "jax"
    code_of = _jax_code if on_jax else _code
    if case is None:
        code = _of_a_name(change, on_jax)
        (prints,) = _printed([code], children, built)
        return (code, prints) if prints[0] != prints[1] else ("", ())
    best, prints = None, ()
    tried = set()
    for _ in range(_ROUNDS):
        candidates = {}
        for smaller in [case] if best is None else _smaller(best):
            code = code_of(smaller, change.aspect)
            if code not in tried and code.count("\n") < 10:
                candidates[code] = smaller
        tried.update(candidates)
        if not candidates:
            break
        said = dict(zip(candidates, _printed(list(candidates), children, built)))
        shown = [code for code in candidates if _differ(*said[code], case.dtype)]
        if not shown:
            break
        # Shortest first; each round begins with what the one before has found.
        code = min(shown, key=len)
        if best is not None and len(code) >= len(code_of(best, change.aspect)):
            break
        best, prints = candidates[code], said[code]
    return (code_of(best, change.aspect), prints) if best is not None else ("", ())


def _printed(codes, children, built):
    """What each of the codes prints in each environment."""
    handle, path = tempfile.mkstemp(suffix=".json")
    with os.fdopen(handle, "w") as file:
        json.dump(codes, file)
    try:
        texts = [children.run(one, ["-c", _RUNNER, path]) for one in built]
    finally:
        os.remove(path)
    return list(zip(*(json.loads(text.strip().splitlines()[-1]) for text in texts)))


def _differ(old, new, dtype):
    """Whether two texts differ in more than the last digits of their numbers."""
    number = r"[-+]?\d*\.?\d+(?:e[-+]?\d+)?"
    if re.sub(number, "#", old) != re.sub(number, "#", new):
        return True
    allowed = 0.05 if dtype in ("float16", "bfloat16") else 1e-4
    return any(
        not math.isclose(float(a), float(b), rel_tol=allowed, abs_tol=1e-6)
        for a, b in zip(re.findall(number, old), re.findall(number, new))
    )


def _case_of(change):
    """The case behind a change; of a loss as a whole one with its arguments."""
    question = change.question
    if "/" in question:
        found = [case for case in cases.corpus(full=True) if case.id == question]
        return found[0] if found else None
    parts = re.fullmatch(r"(\w+)(?:\((\w+)=(.+)\))?\[(.+)\]", question)
    if not parts or parts[1] not in cases.HANDWRITTEN:
        return None
    loss, name, value, way = parts.groups()
    case = cases.HANDWRITTEN[loss][0]
    config = dict(case.config)
    if name:
        config[name] = ast.literal_eval(value)
    path = "reloaded" if way in ("config", ".keras", "pickle") else "eager"
    return dataclasses.replace(case, config=config, path=path)


def _of_a_name(change, on_jax=False):
    """Code that shows what is public about a loss."""
    code = _of_a_public_name(change)
    if on_jax:
        code = code.replace("import tensorflow as tf", "import keras")
        code = code.replace("tf.keras.", "keras.")
    return code


def _of_a_public_name(change):
    question = change.question
    if question.startswith("get("):
        line = f"print(tf.keras.losses.{question})"
    elif question.startswith("Loss("):
        given = question[len("Loss") :]
        line = f"print(tf.keras.losses.MeanSquaredError{given}.reduction)"
    elif change.aspect.split()[0] in ("argument", "default", "order"):
        line = f"print(inspect.signature(tf.keras.losses.{question}))"
        return f"import inspect\nimport tensorflow as tf\n{line}"
    elif change.aspect.split()[0] in ("config", "name") and change.kind == "semantic":
        line = f"print(tf.keras.losses.{question}().get_config())"
    else:
        line = f"print(tf.keras.losses.{question})"
    return f"import tensorflow as tf\n{line}"


def _smaller(case):
    """The cases that are one step simpler."""
    change = dataclasses.replace
    rows = len(case.y_pred) if case.y_pred.ndim else 0
    if rows > 1:
        for keep in [slice(i, i + 1) for i in range(rows)] + [slice(0, rows // 2)]:
            yield _rows(case, keep)
    same = case.y_pred.shape == case.y_true.shape and case.y_pred.ndim > 1
    if same and case.y_pred.shape[-1] > 1 and "axis" not in case.config:
        for i in range(case.y_pred.shape[-1]):
            keep = [j for j in range(case.y_pred.shape[-1]) if j != i]
            for columns in (keep, [i]):
                yield change(
                    case,
                    y_true=case.y_true[..., columns],
                    y_pred=case.y_pred[..., columns],
                )
    for digits in (1, 2):
        yield change(case, y_pred=np.round(case.y_pred, digits))
        yield change(
            case,
            y_pred=np.round(case.y_pred, digits),
            y_true=np.round(case.y_true, digits),
        )
    if case.sample_weight is not None:
        yield change(case, sample_weight=None)
    if case.mask is not None:
        yield change(case, mask=None)
    for name in case.config:
        rest = {key: value for key, value in case.config.items() if key != name}
        yield change(case, config=rest)
    if case.reduction != DEFAULT:
        yield change(case, reduction=DEFAULT)
    if case.dtype != "float32":
        yield change(case, dtype="float32")
    if case.path not in ("eager", "reloaded"):
        yield change(case, path="eager")


def _rows(case, keep):
    def part(array):
        if array is None or np.ndim(array) == 0 or len(array) != len(case.y_pred):
            return array
        return np.asarray(array)[keep]

    return dataclasses.replace(
        case,
        y_true=part(case.y_true),
        y_pred=part(case.y_pred),
        sample_weight=part(case.sample_weight),
        mask=part(case.mask),
    )


def _arguments(case):
    arguments = {name: repr(value) for name, value in case.config.items()}
    if case.reduction != DEFAULT:
        arguments["reduction"] = repr(case.reduction)
    if case.dtype != "float32":
        arguments["dtype"] = repr(case.dtype)
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _jax_code(case, aspect):
    """A case as a program for Keras on JAX, where KERAS_BACKEND says so."""
    kind = "int32" if case.y_true.dtype.kind == "i" else case.dtype
    lines = ["import jax, keras"]
    if case.dtype == "float64":
        lines.append('jax.config.update("jax_enable_x64", True)')
    lines += [
        f"y_true = jax.numpy.array({_literal(case.y_true)}, {kind!r})",
        f"y_pred = jax.numpy.array({_literal(case.y_pred)}, {case.dtype!r})",
        f"loss = keras.losses.{case.loss}({_arguments(case)})",
    ]
    text = "\n".join(lines[1:])
    if "nan" in text or "inf" in text:
        lines.insert(0, "from math import inf, nan")
    if case.path == "reloaded":
        lines.append("loss = keras.losses.deserialize(keras.losses.serialize(loss))")
        if aspect == "config":
            return "\n".join([*lines, "print(loss.get_config())"])
    output = (
        "y_pred" if case.activation is None else f"jax.nn.{case.activation}(y_pred)"
    )
    weight = ""
    if case.sample_weight is not None:
        weight = f", sample_weight={_literal(case.sample_weight)}"
    if case.mask is not None:
        lines.append(f"y_pred._keras_mask = jax.numpy.array({_literal(case.mask)})")
    total = ".sum()" if aspect == "gradient" else ""
    wanted = f"lambda y_pred: loss(y_true, {output}{weight}){total}"
    if aspect == "gradient":
        wanted = f"jax.grad({wanted})"
    elif case.path not in ("xla", "nested"):
        return "\n".join([*lines, f"print(loss(y_true, {output}{weight}))"])
    if case.path in ("xla", "nested"):
        wanted = f"jax.jit({wanted})"
    return "\n".join([*lines, f"print({wanted}(y_pred))"])


def _code(case, aspect):
    """A case as a program that prints its answer."""
    given = _arguments(case)
    kind = "int64" if case.y_true.dtype.kind == "i" else case.dtype
    lines = [
        "import tensorflow as tf",
        f"y_true = tf.constant({_literal(case.y_true)}, {kind!r})",
        f"y_pred = tf.constant({_literal(case.y_pred)}, {case.dtype!r})",
        f"loss = tf.keras.losses.{case.loss}({given})",
    ]
    text = "\n".join(lines[1:3])
    if "nan" in text or "inf" in text:
        lines.insert(0, "from math import inf, nan")
    if case.path == "reloaded":
        lines.append(
            "loss = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))"
        )
        if aspect == "config":
            return "\n".join([*lines, "print(loss.get_config())"])
    output = "y_pred" if case.activation is None else f"tf.nn.{case.activation}(y_pred)"
    weight = ""
    if case.sample_weight is not None:
        weight = f", sample_weight=tf.constant({_literal(case.sample_weight)})"
    call = f"loss(y_true, {output}{weight})"
    if case.mask is not None:
        lines.append(f"y_pred._keras_mask = tf.constant({_literal(case.mask)})")
    if case.path in ("graph", "xla"):
        jit = ", jit_compile=True" if case.path == "xla" else ""
        wanted = f"tf.gradients({call}, y_pred)" if aspect == "gradient" else call
        lines.append(f"print(tf.function(lambda y_pred: {wanted}{jit})(y_pred))")
    elif aspect == "gradient":
        lines += [
            "with tf.GradientTape() as tape:",
            "    tape.watch(y_pred)",
            f"    value = {call}",
            "print(tape.gradient(value, y_pred).numpy())",
        ]
    else:
        lines.append(f"print({call}.numpy())")
    return "\n".join(lines)


def _literal(array):
    return repr(np.asarray(array).tolist())

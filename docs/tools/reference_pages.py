"""Print the reference pages, docs/losses.md and docs/checks.md, from the docstrings.

    python docs/tools/reference_pages.py docs

They are plain Markdown, so they read well where the repository is browsed, and building
the site needs no TensorFlow.
"""

import inspect
import os
import re
import sys
from typing import Any

from availability import Availability

from keras_losses_ref import losses
from keras_losses_ref.conformance import checks, deviations
from keras_losses_ref.conformance.cases import HANDWRITTEN
from keras_losses_ref.conformance.checks import (
    construction,
    execution,
    fresh_process,
    gradients,
    portability,
    reductions,
)
from keras_losses_ref.conformance.report.markdown import table
from keras_losses_ref.losses import base, convert

_COMMAND = "`python docs/tools/reference_pages.py docs`"

#: Modules by name: `losses.hinge` is the function.
_GROUPS = {
    "Regression": "regression",
    "Cross-entropies": "crossentropy",
    "Focal cross-entropies": "focal",
    "Distributions": "divergence",
    "Margins": "hinge",
    "Masks": "segmentation",
    "Embeddings": "similarity",
    "Sequences": "sequence",
    "Large vocabularies": "linear_crossentropy",
}

#: Every loss, by class; those that no Keras has, and no case is about, come last.
LOSSES = (
    *HANDWRITTEN,
    *(
        name
        for name in losses.__all__
        if name not in HANDWRITTEN and getattr(getattr(losses, name), "function", None)
    ),
)

#: What a module has beside its losses.
_BESIDES = {"linear_crossentropy": (losses.LinearHead, losses.linear_logits)}

_GROUPS_OF_CHECKS = {
    "Construction and saving": construction,
    "Values, weights and reductions": reductions,
    "Gradients": gradients,
    "Where it runs": execution,
    "In a fresh process": fresh_process,
    "On another backend": portability,
}

#: A field of a docstring, `Shapes:    ...`, and one of its arguments, `name   ...`.
_FIELD = re.compile(r"(\w+):\s{2,}(.*)")
_ARGUMENT = re.compile(r"(\w+)\s{2,}(.*)")
#: Fields whose line breaks carry meaning.
_VERBATIM = {"Formula": "text", "Gradient": "text", "Example": "python"}


def losses_page(docs):
    """docs/losses.md: every loss, one section each."""
    availability = Availability(docs)
    lines = [
        "# The losses",
        "",
        "One section for each loss. It ends with the [known deviations](deviations.md) "
        "of released Kerases, if there are any. [The atlas](atlas/README.md) has the "
        "accuracy of each loss in each dtype.",
        "",
        f"This page is printed from the docstrings, by {_COMMAND}. Arguments are in "
        "the order of the newest Keras. Under an older Keras, positional arguments "
        "follow its order.",
        "",
        "The columns Keras 2 and Keras 3 name the first release with the loss, among "
        "those that were [compared](versions/README.md); a dash: none has it. In this "
        "package every loss works under every Keras. △ counts the known deviations of "
        "the newest release.",
        "",
        *table(
            ["loss", "function", "aliases", "Keras 2", "Keras 3"],
            [_row(name, availability) for name in LOSSES],
        ),
        "",
        "## What all losses share",
        "",
        *_shared(),
        "",
    ]
    for title, group in _GROUPS.items():
        module = f"{losses.__name__}.{group}"
        lines += [f"## {title}", "", sys.modules[module].__doc__.strip(), ""]
        for name in LOSSES:
            if getattr(losses, name).__module__ == module:
                lines += _loss(name)
        for thing in _BESIDES.get(group, ()):
            lines += [*_function(thing), ""]
    lines += ["## To and from Keras", ""]
    for function in (convert.get, convert.to_keras):
        lines += [*_function(function), ""]
    return "\n".join(lines[:-1]) + "\n"


def checks_page(docs):
    """docs/checks.md: every check of `check_loss`."""
    lines = [
        "# The checks of `check_loss`",
        "",
        f"{len(checks.CHECKS)} checks that hold for any loss, without knowing its "
        "formula. A violation of severity `error` or `warning` fails the report; "
        "`advice` does not. A loss declares the checks that it fails on purpose, with "
        "a reason: see [below](#what-a-loss-may-declare).",
        "",
        f"This page is printed from the checks themselves, by {_COMMAND}.",
        "",
    ]
    for title, module in _GROUPS_OF_CHECKS.items():
        rows = [
            (
                f"`{check.name}`",
                check.severity,
                _escaped(check.summary),
                _escaped(check.fix),
            )
            for check in checks.CHECKS.values()
            if check.function.__module__ == module.__name__
        ]
        lines += [f"## {title}", ""]
        lines += table(["check", "severity", "what must hold", "what to change"], rows)
        lines.append("")
    lines += ["## How to ask", ""]
    for function in (
        checks.check_loss,
        checks.parametrize_with_loss_checks,
        checks.Domain,
    ):
        lines += [*_function(function), ""]
    lines += [
        "## What a loss may declare",
        "",
        "In the argument `declares`, or in `_klr_declares`, an attribute of the class "
        "or function: a dict with any of these keys.",
        "",
        *table(
            ["key", "means"],
            [(f"`{key}`", means) for key, means in checks.DECLARABLE.items()],
        ),
    ]
    return "\n".join(lines) + "\n"


PAGES = {"losses.md": losses_page, "checks.md": checks_page}


def _row(name, availability):
    function = getattr(losses, name).function
    short = ", ".join(f"`{alias}`" for alias in aliases(function))
    hosts = (availability(generation, name) for generation in ("2", "3"))
    return f"[`{name}`](#{name.lower()})", f"`{function.__name__}`", short, *hosts


def aliases(function):
    """The short names of a loss function, like `mse`."""
    names = (n for n in losses.__all__ if getattr(losses, n) is function)
    return [name for name in names if name != function.__name__]


def _shared():
    """The arguments, and the part of base.py's docstring that is meant for a user."""
    text = inspect.cleandoc(base.__doc__)
    text = text[text.index("`loss(y_true") :]
    heading = "Arguments that all losses share:"
    return _prose(f"{heading}\n\n{base.SHARED_ARGUMENTS}\n{text}")


def _loss(name):
    cls = getattr(losses, name)
    function = cls.function
    summary, fields = _parsed(function.__doc__)
    calls = [_signature(name, cls), _signature(function.__name__, function)]
    lines = [f"### {name}", "", summary, "", "```python", *calls, "```", ""]
    if name in HANDWRITTEN:
        lines += [f"![{name}: the loss and its gradient](plots/{name}.svg)", ""]
    for field, rows in fields.items():
        if field in _VERBATIM:
            lines += [f"**{field}**", "", f"```{_VERBATIM[field]}", *rows, "```", ""]
        else:
            lines += [f"**{field}:** {_escaped(' '.join(rows))}", ""]
    return [*lines, f"**Deviates:** {_deviations(name)}", ""]


def _parsed(docstring):
    """(the first paragraph, {field: its lines}) of a docstring."""
    summary, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    fields, rows = {}, []
    for line in rest.splitlines():
        found = _FIELD.fullmatch(line)
        if found:
            rows = fields[found[1]] = [found[2]]
        elif line.strip():
            rows.append(line)
    for rows in fields.values():
        rows[1:] = inspect.cleandoc("\n".join(["", *rows[1:]])).splitlines()
    return " ".join(summary.split()), fields


def _deviations(name):
    """The ledger's entries on a loss, as links; those of one backend by themselves."""
    entries = [entry for entry in deviations.DEVIATIONS if name in entry.losses]
    parts = []
    for backend, lead in (
        (None, ""),
        ("tensorflow", "on TensorFlow "),
        ("jax", "on JAX "),
    ):
        links = [
            f"[`{entry.id}`](deviations.md#{entry.id})"
            for entry in entries
            if entry.backend == backend
        ]
        parts += [lead + ", ".join(links)] if links else []
    return "; ".join(parts) or "none known: no Keras has this loss"


def _function(function):
    """A section on a function that is no loss."""
    summary, _, rest = inspect.cleandoc(function.__doc__).partition("\n\n")
    name = function.__name__
    lines = [f"### {name}", "", *_prose(summary), ""]
    lines += ["```python", _signature(name, function), "```", ""]
    return lines + _prose(rest)


def _prose(text):
    """A docstring's paragraphs; arguments as a list, `>>>` as code, fields in bold."""
    lines = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(">>>"):
            lines += ["```python", *paragraph.splitlines(), "```", ""]
            continue
        code = []
        for line in paragraph.splitlines():
            if code or line.startswith("Example:"):
                code.append(line)
                continue
            found = _FIELD.fullmatch(line) or _ARGUMENT.fullmatch(line)
            if found:
                field = found[0][len(found[1])] == ":"
                name = f"**{found[1]}**" if field else f"`{found[1]}`"
                lines.append(f"- {name}: {_escaped(found[2])}")
            elif line.startswith(" "):
                lines.append(f"  {_escaped(line.strip())}")
            else:
                lines.append(_escaped(line))
        if code:
            code[0] = code[0].partition(":")[2]
            code = inspect.cleandoc("\n".join(code)).splitlines()
            lines += ["", "```python", *(row.strip() for row in code), "```"]
        lines.append("")
    return lines[:-1]


def _signature(name, called):
    """The arguments with their types, in the order of the newest Keras.

    A long signature has one argument a line.
    """
    of = inspect.unwrap(called.__init__ if inspect.isclass(called) else called)
    parameters = inspect.signature(of).parameters.values()
    types = _types(called)
    words, kinds = [], set()
    for parameter in list(parameters)[inspect.isclass(called) :]:
        if parameter.annotation is parameter.empty:
            parameter = parameter.replace(annotation=types.get(parameter.name, Any))
        if parameter.kind is parameter.KEYWORD_ONLY and not kinds & {
            parameter.KEYWORD_ONLY,
            parameter.VAR_POSITIONAL,
        }:
            words.append("*")
        kinds.add(parameter.kind)
        words.append(_typed(parameter))
    line = f"{name}({', '.join(words)})"
    if len(line) <= 80:
        return line
    return "\n".join([f"{name}(", *(f"    {word}," for word in words), ")"])


def _types(called):
    """The types of the arguments of a loss: its own, and those that all share."""
    found = {}
    for function in (base.Loss.__init__, getattr(called, "function", None)):
        found.update(getattr(inspect.unwrap(function), "__annotations__", {}))
    return found


def _typed(parameter):
    """`axis: int = -1`, or `axis=-1` where any type will do."""
    annotation = parameter.annotation
    if annotation in (Any, parameter.empty):
        return str(parameter.replace(annotation=parameter.empty))
    text = str(parameter)
    text = re.sub(r"\b(?:[a-zA-Z_]\w*\.)+(?=[A-Z])", "", text)  # no names of modules
    return text.replace("NoneType", "None")


def _escaped(text):
    """Text whose *, < and __ are no markup; what stands in `backticks` stays."""
    parts = text.split("`")
    markup = re.compile(r"[*<]|__+")
    parts[::2] = [
        markup.sub(lambda found: "".join(f"\\{c}" for c in found[0]), part)
        for part in parts[::2]
    ]
    return "`".join(parts)


def main(folder):
    for name, page in PAGES.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(page(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])

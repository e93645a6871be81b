"""The extras that some styles need."""

import importlib.util

#: {style: (modules, the extra that brings them, a style that does without)}
_NEEDS = {
    "html": (("jinja2", "matplotlib"), "html", "md"),
}


def require(style: str) -> None:
    """Refuse a style whose extra is missing: at once, not after minutes of checking."""
    modules, extra, other = _NEEDS.get(style, ((), None, None))
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"The {style} report needs {module}. Install it with pip install "
                f"'keras-losses-ref[{extra}]', or ask for --format {other}.",
                name=module,
            )

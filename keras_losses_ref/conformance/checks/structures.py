"""Labels and predictions that may be dicts, lists or tuples of arrays.

Every function takes an array or tensor as well: it is its own only leaf.
"""

from collections.abc import Iterable
from typing import Any, Callable

import numpy as np
from numpy.typing import NDArray


def is_structure(tree: Any) -> bool:
    """Whether `tree` is a container of arrays rather than one array."""
    return isinstance(tree, (dict, list, tuple))


def tree_map(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """`function` of each leaf, and of the same leaf of `others`, in the same shape."""
    if isinstance(tree, dict):
        return {
            key: tree_map(function, value, *(other[key] for other in others))
            for key, value in tree.items()
        }
    if isinstance(tree, (list, tuple)):
        mapped = [tree_map(function, *parts) for parts in zip(tree, *others)]
        if hasattr(tree, "_fields"):  # a named tuple
            return type(tree)(*mapped)
        return type(tree)(mapped)
    return function(tree, *others)


def leaves(tree: Any) -> list[Any]:
    """The arrays in `tree`, in a fixed order."""
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def unflatten(tree: Any, values: Iterable[Any]) -> Any:
    """A structure like `tree` whose leaves are `values`."""
    values = iter(values)
    return tree_map(lambda _: next(values), tree)


def size(tree: Any) -> int:
    """The number of samples."""
    return len(leaves(tree)[0])


def take(tree: Any, index: Any) -> Any:
    """Samples by index, slice or mask."""
    return tree_map(lambda x: x[index], tree)


def concatenate(first: Any, second: Any) -> Any:
    """The samples of `first`, then those of `second`."""
    return tree_map(lambda a, b: np.concatenate([a, b]), first, second)


def repeat(tree: Any, times: Any) -> Any:
    """Each sample as often as `times` says."""
    return tree_map(lambda x: np.repeat(x, times, axis=0), tree)


def replaced(tree: Any, index: Any, other: Any, other_index: Any = 0) -> Any:
    """A copy in which sample `index` is that of `other`."""

    def put(x, y):
        x = np.array(x)
        x[index] = y[other_index]
        return x

    return tree_map(put, tree, other)


def rows(tree: Any) -> NDArray[Any]:
    """One row of numbers per sample, out of all leaves."""
    return np.concatenate(
        [np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves(tree)], axis=1
    )


def describe(tree: Any) -> str:
    """The structure in a few words: `a dict of labels, mask`."""
    if isinstance(tree, dict):
        return f"a dict of {', '.join(map(str, tree))}"
    return f"a {type(tree).__name__} of {len(tree)}"


def packed(tree: Any) -> tuple[Any, list[Any]]:
    """(what JSON can hold, the leaves): the structure with numbers for leaves."""
    found = leaves(tree)
    numbers = iter(range(len(found)))

    def pack(part):
        if isinstance(part, dict):
            return {"dict": {key: pack(value) for key, value in part.items()}}
        if isinstance(part, (list, tuple)):
            return {type(part).__name__: [pack(value) for value in part]}
        return next(numbers)

    return pack(tree), found


def unpacked(shape: Any, found: Any) -> Any:
    """The structure that `packed` took apart; a named tuple comes back as a tuple."""
    if isinstance(shape, int):
        return found[shape]
    (kind, parts), *_ = shape.items()
    if kind == "dict":
        return {key: unpacked(part, found) for key, part in parts.items()}
    parts = [unpacked(part, found) for part in parts]
    return parts if kind == "list" else tuple(parts)

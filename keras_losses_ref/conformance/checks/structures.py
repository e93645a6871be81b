"""Labels and predictions that may be dicts, lists or tuples of arrays.

Every function takes an array or tensor as well: it is its own only leaf.
"""

import numpy as np


def is_structure(tree):
    """Whether `tree` is a container of arrays rather than one array."""
    return isinstance(tree, (dict, list, tuple))


def tree_map(function, tree, *others):
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


def leaves(tree):
    """The arrays in `tree`, in a fixed order."""
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in leaves(part)]
    return [tree]


def unflatten(tree, values):
    """A structure like `tree` whose leaves are `values`."""
    values = iter(values)
    return tree_map(lambda _: next(values), tree)


def size(tree):
    """The number of samples."""
    return len(leaves(tree)[0])


def take(tree, index):
    """Samples by index, slice or mask."""
    return tree_map(lambda x: x[index], tree)


def concatenate(first, second):
    """The samples of `first`, then those of `second`."""
    return tree_map(lambda a, b: np.concatenate([a, b]), first, second)


def repeat(tree, times):
    """Each sample as often as `times` says."""
    return tree_map(lambda x: np.repeat(x, times, axis=0), tree)


def replaced(tree, index, other, other_index=0):
    """A copy in which sample `index` is that of `other`."""

    def put(x, y):
        x = np.array(x)
        x[index] = y[other_index]
        return x

    return tree_map(put, tree, other)


def rows(tree):
    """One row of numbers per sample, out of all leaves."""
    return np.concatenate(
        [np.asarray(leaf).reshape(len(leaf), -1) for leaf in leaves(tree)], axis=1
    )


def describe(tree):
    """The structure in a few words: `a dict of labels, mask`."""
    if isinstance(tree, dict):
        return f"a dict of {', '.join(map(str, tree))}"
    return f"a {type(tree).__name__} of {len(tree)}"


def packed(tree):
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


def unpacked(shape, found):
    """The structure that `packed` took apart; a named tuple comes back as a tuple."""
    if isinstance(shape, int):
        return found[shape]
    (kind, parts), *_ = shape.items()
    if kind == "dict":
        return {key: unpacked(part, found) for key, part in parts.items()}
    parts = [unpacked(part, found) for part in parts]
    return parts if kind == "list" else tuple(parts)

"""What pins the oracle: every loss by its definition, in mpmath, on exact inputs.

    python tests/oracle/recipe.py --write    writes anchors.json again
    python tests/oracle/recipe.py --check    fails if the file is not what this makes

Nothing here knows the oracle. Each loss is written as its definition reads, without a
thought for stability, and evaluated with hundreds of digits; gradients come from dual
numbers, whose `maximum`, `clip`, `absolute` and `power` carry the conventions at kinks.
Every row is computed at two precisions and they must round to the same float64.

The inputs are drawn with `random.Random.random` and scaled by powers of two only, so
they are the same bits on every machine.
"""

import argparse
import itertools
import json
import math
import os
import random
import struct
import sys
from fractions import Fraction

import mpmath
from mpmath import mpf

HERE = os.path.dirname(os.path.abspath(__file__))
ANCHORS = os.path.join(HERE, "anchors.json")
ROWS = 208  # per loss


# --- dual numbers ----------------------------------------------------------------


class Dual:
    """A value and its derivatives by the predictions of its row."""

    def __init__(self, value, slopes):
        self.value, self.slopes = value, slopes

    def chain(self, value, slope):
        return Dual(value, [slope * s for s in self.slopes])

    def __add__(self, other):
        if isinstance(other, Dual):
            slopes = [a + b for a, b in zip(self.slopes, other.slopes)]
            return Dual(self.value + other.value, slopes)
        return Dual(self.value + other, self.slopes)

    def __mul__(self, other):
        if isinstance(other, Dual):
            return Dual(
                self.value * other.value,
                [
                    a * other.value + b * self.value
                    for a, b in zip(self.slopes, other.slopes)
                ],
            )
        return self.chain(self.value * other, other)

    def inverse(self):
        return self.chain(1 / self.value, -1 / self.value**2)

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, other):
        return -self + other

    def __truediv__(self, other):
        if isinstance(other, Dual):
            return self * other.inverse()
        return self.chain(self.value / other, 1 / mpf(other))

    def __rtruediv__(self, other):
        return self.inverse() * other

    __radd__, __rmul__ = __add__, __mul__


def log(x):
    return x.chain(mpmath.log(x.value), 1 / x.value)


def exp(x):
    e = mpmath.exp(x.value)
    return x.chain(e, e)


def square_root(x):
    r = mpmath.sqrt(x.value)
    return x.chain(r, 1 / (2 * r))


def absolute(x):
    """|x|; its derivative at 0 is 0."""
    return x.chain(abs(x.value), mpmath.sign(x.value))


def maximum(a, b):
    """The larger of two; a tie passes to the first."""
    av = a.value if isinstance(a, Dual) else a
    bv = b.value if isinstance(b, Dual) else b
    like = a if isinstance(a, Dual) else b
    kept = a if av >= bv else b
    return kept if isinstance(kept, Dual) else constant(kept, like)


def clip(x, low, high):
    """x within bounds; the derivative passes at a bound."""
    if x.value < low:
        return constant(low, x)
    return constant(high, x) if x.value > high else x


def power(x, gamma):
    """x^gamma; a derivative that is infinite at 0 counts as 0."""
    if x.value == 0 and gamma < 1:
        return constant(mpf(1 if gamma == 0 else 0), x)
    return x.chain(x.value**gamma, gamma * x.value ** (gamma - 1))


def top_of(xs):
    """The largest; ties share its derivative."""
    top = max(x.value for x in xs)
    tied = [x for x in xs if x.value == top]
    return sum(tied[1:], tied[0]) / len(tied)


def constant(value, like):
    return Dual(mpf(value), [mpf(0)] * len(like.slopes))


def add(xs):
    return sum(xs[1:], xs[0])


def mean(xs):
    return add(xs) / len(xs)


def variables(values):
    n = len(values)
    return [Dual(v, [mpf(i == j) for j in range(n)]) for i, v in enumerate(values)]


# --- definitions, one row at a time ----------------------------------------------
# y: numbers; p: duals; c: (epsilon, upper clip); the rest: the loss's arguments.


def mean_squared_error(y, p, c):
    return mean([(b - a) * (b - a) for a, b in zip(y, p)])


def mean_absolute_error(y, p, c):
    return mean([absolute(b - a) for a, b in zip(y, p)])


def mean_absolute_percentage_error(y, p, c):
    return 100 * mean([absolute(b - a) / max(abs(a), c[0]) for a, b in zip(y, p)])


def mean_squared_logarithmic_error(y, p, c):
    epsilon = constants("float32")[0]
    d = [
        log(maximum(b, epsilon) + 1) - mpmath.log(max(a, epsilon) + 1)
        for a, b in zip(y, p)
    ]
    return mean([e * e for e in d])


def huber(y, p, c, delta=1.0):
    delta = mpf(delta)

    def one(e):
        if abs(e.value) <= delta:
            return e * e / 2
        return delta * absolute(e) - delta * delta / 2

    return mean([one(b - a) for a, b in zip(y, p)])


def log_cosh(y, p, c):
    return mean([log((exp(b - a) + exp(a - b)) / 2) for a, b in zip(y, p)])


def cosine_similarity(y, p, c):
    floor = mpf(10) ** 7  # 1 / epsilon, in every dtype
    size = mpmath.sqrt(mpmath.fsum(a * a for a in y))
    y_unit = [a * (min(1 / size, floor) if size else floor) for a in y]
    square = add([b * b for b in p])
    if square.value and 1 / mpmath.sqrt(square.value) <= floor:
        p_unit = [b / square_root(square) for b in p]
    else:
        p_unit = [b * floor for b in p]
    return -add([a * b for a, b in zip(y_unit, p_unit)])


def hinge(y, p, c):
    return mean([maximum(1 - a * b, mpf(0)) for a, b in zip(y, p)])


def squared_hinge(y, p, c):
    h = [maximum(1 - a * b, mpf(0)) for a, b in zip(y, p)]
    return mean([a * a for a in h])


def categorical_hinge(y, p, c):
    positive = add([a * b for a, b in zip(y, p)])
    negative = top_of([(1 - a) * b for a, b in zip(y, p)])
    return maximum(negative - positive + 1, mpf(0))


def binary_smoothed(y, s):
    return [a * (1 - mpf(s)) + mpf(s) / 2 for a in y]


def class_smoothed(y, s):
    return [a * (1 - mpf(s)) + mpf(s) / len(y) for a in y]


def sigmoid(x):
    return 1 / (1 + exp(-x))


def softmax(x):
    e = [exp(a) for a in x]
    return [a / add(e) for a in e]


def binary_costs(y, p):
    return [-(a * log(b)) - (1 - a) * log(1 - b) for a, b in zip(y, p)]


def binary_crossentropy(y, p, c, from_logits=False, label_smoothing=0.0):
    y = binary_smoothed(y, label_smoothing)
    p = [sigmoid(b) if from_logits else clip(b, *c) for b in p]
    return mean(binary_costs(y, p))


def binary_focal_crossentropy(
    y,
    p,
    c,
    apply_class_balancing=False,
    alpha=0.25,
    gamma=2.0,
    from_logits=False,
    label_smoothing=0.0,
):
    y = binary_smoothed(y, label_smoothing)
    p = [sigmoid(b) for b in p] if from_logits else p
    costs = binary_costs(y, p if from_logits else [clip(b, *c) for b in p])
    p_t = [a * b + (1 - a) * (1 - b) for a, b in zip(y, p)]
    values = [power(1 - t, mpf(gamma)) * cost for t, cost in zip(p_t, costs)]
    if apply_class_balancing:
        alpha = mpf(alpha)
        values = [v * (a * alpha + (1 - a) * (1 - alpha)) for v, a in zip(values, y)]
    return mean(values)


def categorical_crossentropy(y, p, c, from_logits=False, label_smoothing=0.0):
    y = class_smoothed(y, label_smoothing)
    if from_logits:
        q = softmax(p)
        value = -mpmath.fsum(a * mpmath.log(b.value) for a, b in zip(y, q))
        # The convention of the kernel, also where y does not sum to 1.
        return Dual(value, [b.value - a for a, b in zip(y, q)])
    whole = add(p)
    q = [clip(b / whole, *c) for b in p]
    return -add([a * log(b) for a, b in zip(y, q)])


def categorical_focal_crossentropy(
    y, p, c, alpha=0.25, gamma=2.0, from_logits=False, label_smoothing=0.0
):
    y = class_smoothed(y, label_smoothing)
    p = softmax(p) if from_logits else p
    whole = add(p)
    q = [clip(b / whole, *c) for b in p]
    alpha = alpha if isinstance(alpha, list) else [alpha] * len(p)
    return add(
        [
            mpf(w) * a * (power(1 - b, mpf(gamma)) * -log(b))
            for w, a, b in zip(alpha, y, q)
        ]
    )


def sparse_categorical_crossentropy(
    label, p, c, from_logits=False, label_smoothing=0.0, ignore_class=None
):
    if label == ignore_class:
        return constant(0, p[0])
    s = mpf(label_smoothing)
    if from_logits:
        costs = uniform = [-log(b) for b in softmax(p)]
    else:
        inside = [clip(b, *c) for b in p]
        costs = [-log(b / add(inside)) for b in inside]
        uniform = [-log(clip(b / add(p), *c)) for b in p]
    return (1 - s) * costs[label] + s * mean(uniform)


def sparse_categorical_focal_crossentropy(
    label, p, c, alpha=0.25, gamma=2.0, from_logits=False, ignore_class=None
):
    if label == ignore_class:
        return constant(0, p[0])
    y = [int(i == label) for i in range(len(p))]
    return categorical_focal_crossentropy(y, p, c, alpha, gamma, from_logits)


def categorical_generalized_cross_entropy(label, p, c, q=0.5):
    return (1 - power(p[label], mpf(q))) / mpf(q)


def kl_divergence(y, p, c):
    y = [min(max(a, c[0]), mpf(1)) for a in y]
    p = [clip(b, c[0], mpf(1)) for b in p]
    return add([a * log(a / b) for a, b in zip(y, p)])


def poisson(y, p, c):
    return mean([b - a * log(b + c[0]) for a, b in zip(y, p)])


def dice(y, p, c):
    both = add([a * b for a, b in zip(y, p)])
    return 1 - 2 * both / (mpmath.fsum(y) + add(p) + c[0])


def tversky(y, p, c, alpha=0.5, beta=0.5):
    both = add([a * b for a, b in zip(y, p)])
    false_positive = add([b * (1 - a) for a, b in zip(y, p)])
    false_negative = add([(1 - b) * a for a, b in zip(y, p)])
    whole = both + mpf(alpha) * false_positive + mpf(beta) * false_negative + c[0]
    return 1 - both / whole


def circle(labels, p, c, remove_diagonal=True, gamma=80, margin=0.4):
    """All rows at once: p is a list of rows of duals."""
    gamma, margin, zero = mpf(gamma), mpf(margin), mpf(0)
    values = []
    for i, query in enumerate(p):
        near, far = [], []
        for j, ref in enumerate(p):
            d = maximum(1 - add([a * b for a, b in zip(query, ref)]), zero)
            if labels[i] != labels[j]:
                weight = maximum(1 + margin - d, zero)
                far.append(exp(gamma * weight * (1 - margin - d)))
            elif i != j or not remove_diagonal:
                weight = maximum(margin + d, zero)
                near.append(exp(-gamma * weight * (margin - d)))
        if near and far:
            values.append(log(1 + add(near) * add(far)))
        else:
            values.append(constant(0, query[0]))
    return values


def ctc(label, p, c):
    """Every path is spelled out: p is a list of time steps of duals."""
    word = [k for k in label if k]
    q = [softmax(step) for step in p]
    likely = None
    for path in itertools.product(range(len(p[0])), repeat=len(p)):
        spelled = [k for k, _ in itertools.groupby(path) if k]
        if spelled == word:
            term = q[0][path[0]]
            for step, k in zip(q[1:], path[1:]):
                term = term * step[k]
            likely = term if likely is None else likely + term
    return -log(likely)


# --- evaluation ------------------------------------------------------------------


def constants(dtype):
    if dtype == "float64":
        return mpf(1e-7), mpf(1 - 1e-7)
    epsilon = round_to(1e-7, "float32")
    return mpf(epsilon), mpf(round_to(1 - epsilon, "float32"))


def evaluate(loss, case):
    """(values, gradient) of a case in mpmath, at the precision that is set."""
    y, p = case["y_true"], [[mpf(x) for x in row] for row in case["y_pred"]]
    c = constants(case["dtype"])
    args = dict(case["args"])
    if loss is circle or loss is ctc:
        flat = variables([x for row in p for x in row])
        n = len(p[0])
        rows = [flat[i : i + n] for i in range(0, len(flat), n)]
        values = circle(y, rows, c, **args) if loss is circle else [ctc(y, rows, c)]
        slopes = add(values).slopes
        gradient = [slopes[i : i + n] for i in range(0, len(slopes), n)]
        return [v.value for v in values], gradient
    axis = args.pop("axis", -1)
    sparse = loss in SPARSE
    y = y if sparse else [[mpf(x) for x in row] for row in y]
    if loss in (hinge, squared_hinge) and all(x in (0, 1) for row in y for x in row):
        y = [[2 * x - 1 for x in row] for row in y]
    if loss in (dice, tversky) and axis is None:
        n = len(p[0])
        y = [[x for row in y for x in row]]
        result = loss(y[0], variables([x for row in p for x in row]), c, **args)
        slopes = result.slopes
        return [result.value], [slopes[i : i + n] for i in range(0, len(slopes), n)]
    if axis == 0:
        p = list(zip(*p))
        y = y if sparse else list(zip(*y))
    results = [loss(a, variables(b), c, **args) for a, b in zip(y, p)]
    gradient = [r.slopes for r in results]
    gradient = [list(g) for g in zip(*gradient)] if axis == 0 else gradient
    return [r.value for r in results], gradient


def rounded(x):
    """An mpf as the nearest float64; what only rounding keeps from 0 is 0.

    The threshold lies far below any value in the file and far above the noise.
    """
    if abs(x) < mpf(10) ** (-2 * mpmath.mp.dps // 3):
        return 0.0
    sign, man, exponent, _ = x._mpf_
    exact = Fraction(int(man)) * Fraction(2) ** exponent
    try:
        return -float(exact) if sign else float(exact)
    except OverflowError:
        return -math.inf if sign else math.inf


def settled(loss, case):
    """Values and gradient as float64, once more digits no longer change them."""
    digits = 400 if case["args"].get("from_logits") or loss in (log_cosh, ctc) else 120
    if loss is circle:
        digits = 300
    before = None
    for _ in range(5):
        with mpmath.workdps(digits):
            values, gradient = evaluate(loss, case)
            now = (
                [rounded(v) for v in values],
                [[rounded(g) for g in row] for row in gradient],
            )
        if now == before:
            return now
        before, digits = now, digits * 5 // 4
    raise ArithmeticError(f"{loss.__name__} does not settle on {case}")


# --- inputs ----------------------------------------------------------------------


def round_to(x, dtype):
    """x as the nearest number of `dtype` (bfloat16: cut, which is as good here)."""
    if dtype == "float16":
        return struct.unpack("<e", struct.pack("<e", x))[0]
    if dtype == "float32":
        return struct.unpack("<f", struct.pack("<f", x))[0]
    if dtype == "bfloat16":
        bits = struct.unpack("<I", struct.pack("<f", x))[0] & 0xFFFF0000
        return struct.unpack("<f", struct.pack("<I", bits))[0]
    return float(x)


class Draw:
    """Random numbers of one dtype."""

    def __init__(self, seed, dtype):
        self.random = random.Random(seed).random
        self.dtype = dtype

    def cut(self, x):
        return round_to(x, self.dtype)

    def integer(self, low, high):
        return low + int(self.random() * (high - low + 1))

    def pick(self, items):
        return items[self.integer(0, len(items) - 1)]

    def scaled(self, low, high):
        """1 to 2 times a power of two between 2^low and 2^high."""
        return self.cut(math.ldexp(1 + self.random(), self.integer(low, high)))

    def signed(self, low, high):
        return self.scaled(low, high) * self.pick([-1, 1])

    def uniform(self):
        return self.cut(self.random())

    def nudged(self, x, steps=5):
        """x moved by a few of its last places."""
        bits = {"float64": 52, "float32": 23, "float16": 10, "bfloat16": 7}[self.dtype]
        step = math.ldexp(1, math.frexp(x)[1] - 1 - bits) if x else math.ldexp(1, -bits)
        return self.cut(x + self.integer(-steps, steps) * step)

    def wide_range(self):
        return {"float64": 300, "float32": 50, "float16": 5, "bfloat16": 50}[self.dtype]


def reals(d, kind, n):
    """(truth, prediction) of n numbers each."""
    if kind == "typical":
        return [d.signed(-3, 2) for _ in range(n)], [d.signed(-3, 2) for _ in range(n)]
    if kind == "close":
        y = [d.signed(-3, 2) for _ in range(n)]
        return y, [d.nudged(a) for a in y]
    if kind == "tied":
        y = [d.signed(-3, 2) for _ in range(n)]
        return y, [a if i else d.signed(-3, 2) for i, a in enumerate(y)]
    if kind == "small":
        low = -14 if d.dtype == "float16" else -40
        return (
            [d.pick([0.0, d.signed(low, -8)]) for _ in range(n)],
            [d.signed(low, -8) for _ in range(n)],
        )
    if kind == "large":
        high = d.wide_range() // 2 - 1
        return (
            [d.signed(-2, high) for _ in range(n)],
            [d.signed(-2, high) for _ in range(n)],
        )
    y = [d.pick([0.0, 1.0, -1.0, 0.5]) for _ in range(n)]
    return y, [d.pick([0.0, 1.0, -1.0, 0.5, 1.5]) for _ in range(n)]


REALS = ["typical", "close", "tied", "small", "large", "literal"]


def shares(d, kind, n):
    """n predictions that are meant as probabilities."""
    low = -14 if d.dtype == "float16" else -30
    epsilon, high = (float(x) for x in constants(d.dtype))
    epsilon, high = d.cut(epsilon), d.cut(high)
    if kind == "confident":
        small = [d.scaled(low, -8) for _ in range(n - 1)]
        row = [d.cut(1 - math.fsum(small)), *small]
        at = d.integer(0, n - 1)
        row[0], row[at] = row[at], row[0]
        return row
    if kind == "one hot":
        at = d.integer(0, n - 1)
        return [float(i == at) for i in range(n)]
    if kind == "clip":
        # The sum is exactly 1, so that a share lies exactly on its bound.
        row = [epsilon, d.cut(1 - epsilon)] + [0.0] * (n - 2)
        return row if d.random() < 0.5 else [1 - high, high] + [0.0] * (n - 2)
    if kind == "unscaled":
        return [d.scaled(-4, 3) for _ in range(n)]
    row = [d.scaled(-4, 0) for _ in range(n)]
    whole = math.fsum(row)
    return [d.cut(x / whole) for x in row]


SHARES = ["typical", "confident", "one hot", "clip", "unscaled", "soft"]


def targets(d, kind, p):
    n = len(p)
    if kind == "soft":
        return [d.nudged(x) for x in p]
    if d.random() < 0.2:
        return [d.uniform() for _ in range(n)]
    at = d.integer(0, n - 1)
    return [float(i == at) for i in range(n)]


def logits(d, n):
    kind = d.pick(["typical", "typical", "margin", "large", "tied", "small"])
    if kind == "typical":
        return [d.signed(-2, 1) for _ in range(n)]
    if kind == "margin":
        row = [d.signed(-2, 1) for _ in range(n)]
        row[d.integer(0, n - 1)] = d.scaled(3, 5)
        return row
    if kind == "large":
        return [d.signed(4, 7) for _ in range(n)]
    if kind == "tied":
        return [d.signed(-2, 3)] * n
    return [d.signed(-14, -5) for _ in range(n)]


def binary_share(d):
    """One probability of the positive class."""
    epsilon, high = (d.cut(float(x)) for x in constants(d.dtype))
    low = -14 if d.dtype == "float16" else -30
    kind = d.integer(0, 7)
    if kind == 0:
        return d.pick([0.0, 1.0, epsilon, high, 0.5])
    if kind == 1:
        return d.scaled(low, -8)
    if kind == 2:
        return d.cut(1 - d.scaled(low, -8))
    if kind == 3:
        return d.nudged(d.pick([epsilon, 0.5, 0.25]))
    return d.uniform()


def case(d, args, y, p):
    return {"args": args, "dtype": d.dtype, "y_true": y, "y_pred": p}


def regression_cases(loss, d, k):
    n = d.integer(2, 4)
    y, p = reals(d, REALS[k % len(REALS)], n)
    args = {}
    if loss is huber and k % 3:
        args = {"delta": d.pick([0.1, 0.5, 1.5, 2.0])}
        if k % 6 == 5:  # exactly at delta
            p = [a + args["delta"] for a in y]
    if loss is mean_squared_logarithmic_error and k % 4:
        y, p = [abs(a) for a in y], [abs(b) for b in p]
    if loss is log_cosh:  # exp(e) must stay within reach of a few hundred digits
        y, p = [min(max(a, -90), 90) for a in y], [min(max(b, -90), 90) for b in p]
    if loss is cosine_similarity:
        if k % 8 == 7:  # nearly orthogonal
            y, p = [1.0, d.nudged(1.0)], [d.nudged(1.0), -1.0]
        if k % 16 == 15:  # below the floor
            p = [math.ldexp(x, -30) for x in p]
        if k % 4 == 0:
            rows = [reals(d, "typical", n), (y, p)]
            return case(d, {"axis": 0}, [r[0] for r in rows], [r[1] for r in rows])
    if loss in (hinge, squared_hinge):
        labels = d.pick([[0.0, 1.0], [-1.0, 1.0], None])
        y = [d.pick(labels) for _ in y] if labels else y
        if k % 5 == 0:
            p = [d.nudged(d.pick([1.0, -1.0])) for _ in p]
    if loss is categorical_hinge and k % 4:
        at = d.integer(0, n - 1)
        y = [float(i == at) for i in range(n)]
        if k % 4 == 2:  # the margin nearly vanishes
            p = [0.5 if not a else d.nudged(1.5) for a in y]
    return case(d, args, [y], [p])


def probability_cases(loss, d, k):
    args, n = {}, d.integer(2, 4)
    from_logits = bool(k % 2) and loss is not kl_divergence and loss is not poisson
    axis = 0 if k % 7 == 3 else -1
    m = 2 if axis == 0 or k % 5 == 4 else 1
    if loss in (binary_crossentropy, binary_focal_crossentropy):
        y = [[d.pick([0.0, 1.0, 0.0, 1.0, d.uniform()]) for _ in range(n)]] * m
        p = [
            [d.signed(-3, 6) if from_logits else binary_share(d) for _ in range(n)]
            for _ in range(m)
        ]
    else:
        kind = SHARES[k // 2 % len(SHARES)]
        p = [shares(d, kind, n) for _ in range(m)]
        y = [targets(d, kind, row) for row in p]
        if from_logits:
            p = [logits(d, n) for _ in range(m)]
    if loss is poisson:
        p = [[d.scaled(-20 if k % 2 else -3, 4) for _ in range(n)] for _ in range(m)]
        y = [[d.pick([0.0, 1.0, d.scaled(-4, 4), d.nudged(b)]) for b in r] for r in p]
    if from_logits:
        args["from_logits"] = True
    if loss not in (kl_divergence, poisson):
        if k % 3 == 2:
            args["label_smoothing"] = d.pick([0.1, 0.25, 1.0])
        if axis == 0:
            args["axis"] = 0
            y, p = ([list(r) for r in zip(*a)] for a in (y, p))
    if loss in (binary_focal_crossentropy, categorical_focal_crossentropy):
        args["gamma"] = d.pick([0.0, 0.5, 1.0, 1.5, 2.0, 5.0])
    if loss is binary_focal_crossentropy and k % 4 == 1:
        args.update(apply_class_balancing=True, alpha=d.pick([0.25, 0.7]))
    if loss is categorical_focal_crossentropy and k % 4 == 1:
        args["alpha"] = [0.25, 0.5, 0.75, 0.1][:n]
    return case(d, args, y, p)


def sparse_cases(loss, d, k):
    n = d.integer(2, 4)
    args, axis = {}, 0 if k % 7 == 3 else -1
    m = 2 if axis == 0 or k % 5 == 4 else 1
    kind = SHARES[k // 2 % len(SHARES)]
    p = [shares(d, kind, n) for _ in range(m)]
    y = [d.integer(0, n - 1) for _ in range(m)]
    if loss is categorical_generalized_cross_entropy:
        # p_t = 0 has an infinite gradient; other tests take care of it.
        p = [[x or d.scaled(-14, -8) for x in row] for row in p]
        return case(d, {"q": d.pick([0.001, 0.1, 0.5, 0.7, 0.999])}, y, p)
    if k % 2:
        args["from_logits"] = True
        p = [logits(d, n) for _ in range(m)]
    if axis == 0:
        args["axis"] = 0
        p = [list(r) for r in zip(*p)]
    if loss is sparse_categorical_crossentropy and k % 3 == 2:
        args["label_smoothing"] = d.pick([0.1, 0.25, 1.0])
    if loss is sparse_categorical_focal_crossentropy:
        args["gamma"] = d.pick([0.0, 0.5, 1.0, 1.5, 2.0, 5.0])
        if k % 4 == 1:
            args["alpha"] = [0.25, 0.5, 0.75, 0.1][:n]
    if k % 6 == 4:
        args["ignore_class"] = d.integer(-1, n - 1)
    return case(d, args, y, p)


def mask_cases(loss, d, k):
    n, m = d.integer(2, 3), d.integer(1, 2)
    kind = k % 5
    y = [[d.pick([0.0, 1.0]) for _ in range(n)] for _ in range(m)]
    p = [[binary_share(d) for _ in range(n)] for _ in range(m)]
    if kind == 1:  # nearly perfect
        p = [[d.nudged(a) if a else d.scaled(-14, -8) for a in r] for r in y]
        p = [[min(b, 1.0) for b in r] for r in p]
    if kind == 2:
        p = [list(r) for r in y]
    if kind == 3:
        y = [[d.uniform() for _ in range(n)] for _ in range(m)]
    if kind == 4 and k % 2:
        y = [[0.0] * n for _ in range(m)]
    args = {"axis": d.pick([None, None, -1, 0])}
    if loss is tversky and k % 3:
        args.update(alpha=d.pick([0.3, 0.7, 1.0]), beta=d.pick([0.2, 0.9, 0.0]))
    return case(d, args, y, p)


def circle_cases(loss, d, k):
    size, m = 2, d.integer(3, 4)
    p = []
    for i in range(m):
        v = [d.signed(-3, 0) for _ in range(size)]
        if k % 4 == 1 and i:  # a tight cluster
            p.append([d.nudged(x) for x in p[0]])
            continue
        norm = math.sqrt(math.fsum(x * x for x in v))
        p.append([d.cut(x / norm) for x in v])
    if k % 4 == 2:
        p = [[d.pick([-1.0, 1.0]), 0.0] for _ in range(m)]
    y = [0, 0, 1, 1][:m] if k % 5 else [d.integer(0, 1) for _ in range(m)]
    args = {}
    if k % 3 == 1:
        args = {"gamma": d.pick([1.0, 8.0, 128.0]), "margin": d.pick([0.0, 0.25, 1.0])}
    if k % 6 == 5:
        args["remove_diagonal"] = False
    return case(d, args, y, p)


def ctc_cases(loss, d, k):
    time, classes = d.integer(2, 4), d.integer(2, 3)
    y = {
        0: [1, 0],
        1: [1, 1] if time > 2 else [1, 0],
        2: [classes - 1, 1] if classes > 2 else [1, 0],
        3: [0, 0],
    }[k % 4]
    return case(d, {}, y, [logits(d, classes) for _ in range(time)])


SPARSE = (
    sparse_categorical_crossentropy,
    sparse_categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
)

LOSSES = {
    mean_squared_error: regression_cases,
    mean_absolute_error: regression_cases,
    mean_absolute_percentage_error: regression_cases,
    mean_squared_logarithmic_error: regression_cases,
    huber: regression_cases,
    log_cosh: regression_cases,
    cosine_similarity: regression_cases,
    hinge: regression_cases,
    squared_hinge: regression_cases,
    categorical_hinge: regression_cases,
    binary_crossentropy: probability_cases,
    binary_focal_crossentropy: probability_cases,
    categorical_crossentropy: probability_cases,
    categorical_focal_crossentropy: probability_cases,
    kl_divergence: probability_cases,
    poisson: probability_cases,
    sparse_categorical_crossentropy: sparse_cases,
    sparse_categorical_focal_crossentropy: sparse_cases,
    categorical_generalized_cross_entropy: sparse_cases,
    dice: mask_cases,
    tversky: mask_cases,
    circle: circle_cases,
    ctc: ctc_cases,
}

DTYPES = ["float64", "float32", "float64", "float32", "float64", "bfloat16", "float16"]


def rows(loss, only=None):
    """The anchors of one loss."""
    made = []
    for k in range(ROWS):
        if only is not None and k not in only:
            continue
        d = Draw(f"{loss.__name__}/{k}", DTYPES[k % len(DTYPES)])
        one = LOSSES[loss](loss, d, k)
        one["values"], one["gradient"] = settled(loss, one)
        made.append(one)
    return made


def packed(x):
    """Floats as hexadecimal, so that the file holds the very bits."""
    if isinstance(x, list):
        return [packed(a) for a in x]
    return x.hex() if isinstance(x, float) else x


def text():
    """The whole file: one line a row, so that a change reads well in a diff."""
    out = ['{"schema": 1, "rows": {']
    for i, loss in enumerate(LOSSES):
        out.append(("," if i else "") + f'"{loss.__name__}": [')
        lines = []
        for row in rows(loss):
            row = {k: v if k == "args" else packed(v) for k, v in row.items()}
            lines.append(json.dumps(row, sort_keys=True, separators=(",", ":")))
        out.append(",\n".join(lines) + "]")
    return "\n".join(out) + "}}\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true", help="write anchors.json again")
    choice.add_argument("--check", action="store_true", help="compare anchors.json")
    args = parser.parse_args(argv)
    made = text()
    if args.write:
        with open(ANCHORS + ".new", "w", encoding="ascii", newline="\n") as file:
            file.write(made)
        os.replace(ANCHORS + ".new", ANCHORS)
        return 0
    with open(ANCHORS, encoding="ascii", newline="") as file:
        same = file.read() == made
    print("anchors.json is what the recipe makes" if same else "anchors.json differs")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())

"""Measure how much of the tolerances a device needs, and write a GPU's row of them.

    python -m keras_losses_ref.conformance.tolerance --measure GPU:0

The cases of `check` for the device are judged by the CPU's row. Where that holds, it is
the GPU's too. Where it does not, each kind of comparison gets the smallest of 2, 4 and
8 times the CPU's row beyond which more room changes no verdict: what differs by more is
no rounding, and is named. The row of a GPU is written beside `tolerance`, which reads
it; that of the CPU is what others are measured by, and is only printed.
"""

import argparse
import collections
import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

import numpy as np

from keras_losses_ref.conformance import check, tolerance, verdict
from keras_losses_ref.conformance.files import SCHEMA, dumps, write
from keras_losses_ref.conformance.runtime import runtime_info

#: How many times the CPU's row a GPU's may be.
FACTORS = (1, 2, 4, 8)
KINDS = ("value", "gradient", "second")


@contextlib.contextmanager
def widened(device: str, factors: dict[str, int]) -> Iterator[None]:
    """Within it, the row of a device is so many times the CPU's."""
    name = device.split(":")[0]
    before = tolerance.TOLERANCE[name]
    tolerance.TOLERANCE[name] = row(factors)
    try:
        yield
    finally:
        tolerance.TOLERANCE[name] = before


def row(factors: dict[str, int]) -> dict[str, tuple[float, float]]:
    """(rtol, atol) of each kind, so many times the CPU's."""
    return {
        kind: tuple(factors[kind] * part for part in tolerance.CPU[kind])
        for kind in KINDS
    }


def measure(
    cases: Iterable[Any], device: str
) -> tuple[dict[str, int], list[Any], dict[str, Any]]:
    """(the factor of each kind, the verdicts that fail all the same, what was used)."""
    asked = list(check.outcomes(cases))
    factors = dict.fromkeys(KINDS, 1)
    with widened(device, factors):
        verdicts = list(check.judged(asked))
    failing = {v.case.id for v in verdicts if v.failed}
    doubtful = [one for one in asked if one[0].id in failing]
    counts = {}
    for factor in FACTORS if doubtful else ():
        with widened(device, dict.fromkeys(KINDS, factor)):
            counts[factor] = collections.Counter(
                v.aspect for v in check.judged(doubtful) if v.failed
            )
    for kind in KINDS if doubtful else ():
        fewest = counts[FACTORS[-1]][kind]
        factors[kind] = next(f for f in FACTORS if counts[f][kind] == fewest)
    with widened(device, factors):
        beyond = [v for v in check.judged(doubtful) if v.failed]
        return factors, beyond, used(verdicts)


def used(verdicts: Sequence[Any]) -> dict[str, Any]:
    """{kind: {dtype: {"ours" and "keras": [the largest share of the row, the case]}}}.

    Of what agrees, Circle's gradient apart, and where the row was enough: ours may be
    right by its mixed error as well.
    """
    found = {}
    for one in verdicts:
        special = (one.loss, one.aspect) in tolerance.TOLERANCE_OVERRIDES
        if one.verdict != verdict.AGREE or one.aspect not in KINDS or special:
            continue
        of_dtype = found.setdefault(one.aspect, {}).setdefault(one.case.dtype, {})
        for who in ("ours", "keras"):
            got = getattr(getattr(one, who), one.aspect)
            if got is None or np.shape(got) != np.shape(
                getattr(one.oracle, one.aspect)
            ):
                continue
            share = tolerance.share(
                *(got, getattr(one.oracle, one.aspect), one.case.dtype, one.aspect),
                device=one.case.device,
            )
            if share <= 1 and share >= of_dtype.get(who, (0.0, ""))[0]:
                of_dtype[who] = (float(f"{share:.3g}"), one.id)
    return found


def text(document: dict[str, Any]) -> str:
    """What was measured, for a person."""
    lines = [", ".join(f"{k} {v}" for k, v in document["environment"].items())]
    lines += [f"{document['cases']} cases; the row in machine epsilons (rtol, atol):"]
    lines += [f"  {kind:8} {document['row'][kind]}" for kind in KINDS]
    lines += ["the largest share of it that is used:"]
    for kind, of_dtype in document["used"].items():
        for dtype, found in of_dtype.items():
            words = (
                f"{who} {share:.2f} {case}" for who, (share, case) in found.items()
            )
            lines.append(f"  {kind:8} {dtype:8} {'; '.join(words)}")
    lines += [f"beyond it: {case}" for case in document["beyond"]]
    return "\n".join(lines) + "\n"


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("loss", nargs="*", help="only these: nothing is written beside")
    parser.add_argument(
        "--measure", required=True, metavar="DEVICE", help="such as GPU:0"
    )
    parser.add_argument("--output", metavar="FILE", help="write the row there instead")
    arguments = parser.parse_args(argv)
    device = arguments.measure
    try:
        cases, left_out = check.for_gpu(check.select(arguments.loss, device=device))
    except check.NothingSelected as error:
        print(error, file=sys.stderr)
        return 2
    factors, beyond, shares = measure(cases, device)
    document = {
        "schema": SCHEMA,
        "environment": runtime_info([device]),
        "cases": len(cases),
        "left_out": dict(left_out),
        "row": {kind: list(both) for kind, both in row(factors).items()},
        "used": shares,
        "beyond": [f"{v.id} {v.aspect}" for v in beyond],
    }
    print(text(document), end="")
    path = arguments.output
    if path is None and device.startswith("GPU") and not arguments.loss:
        path = str(tolerance.MEASURED)
    if path is not None:
        write(dumps(document), path)
        print(f"written: {path}")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())

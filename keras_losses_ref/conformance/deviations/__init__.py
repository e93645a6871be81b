"""The ledger: where a released Keras differs from the definition.

An entry says which losses, since which version and until which, in one sentence, with
the upstream thread, and carries the deviating definition itself: `outcome(case)` is
what such a Keras gives, and the host must give exactly that. An entry that no longer
shows in a version it claims fails the run, as does a difference without an entry.
"""

from collections.abc import Iterable
from typing import Optional

from keras_losses_ref.conformance.deviations import (
    crossentropy,
    derivatives,
    hinge,
    jax,
    labels,
    reduction,
    regression,
    saving,
    segmentation,
    sequence,
    similarity,
)
from keras_losses_ref.conformance.deviations.deviation import Deviation

__all__ = ["DEVIATIONS", "Deviation", "for_version"]

DEVIATIONS = (
    *labels.DEVIATIONS,
    *reduction.DEVIATIONS,
    *crossentropy.DEVIATIONS,
    *regression.DEVIATIONS,
    *hinge.DEVIATIONS,
    *segmentation.DEVIATIONS,
    *similarity.DEVIATIONS,
    *sequence.DEVIATIONS,
    *saving.DEVIATIONS,
    *derivatives.DEVIATIONS,
    *jax.DEVIATIONS,
)


def for_version(
    version: str, losses: Optional[Iterable[str]] = None, backend: str = "tensorflow"
) -> list[Deviation]:
    """The entries that hold for Keras `version` on `backend`, for any of `losses`."""
    return [
        entry
        for entry in DEVIATIONS
        if entry.covers(version, backend)
        and (losses is None or set(entry.losses) & set(losses))
    ]

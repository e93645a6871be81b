"""The inputs that each loss takes: one table, read by everything that draws inputs.

A row of `LOSSES` names a loss, the domain of its y_true and y_pred, and the arguments
with which it takes that domain. How numbers are drawn depends on the purpose, so each
of these has its own functions, by the name of the domain:

    cases/magnitudes.py  every magnitude that a dtype has
    checks/domains.py    samples, edges and perfect predictions, for any loss
    accuracy.py          six families of inputs, from typical to huge
    bench.py             batches of any shape
    plot.py              curves over one number
"""

import dataclasses
from typing import Any, Optional


@dataclasses.dataclass(frozen=True)
class InputDomain:
    """One kind of y_true and y_pred."""

    name: str
    #: What y_pred holds: "reals", "probabilities", "logits" or "distances".
    predicts: str = "reals"
    #: What y_true holds: "values", or "indices" of classes.
    labels: str = "values"
    #: Whether each element of y_pred meets one of y_true, so that (N, 1) makes sense.
    elementwise: bool = False


#: Every domain by name.
DOMAINS = {
    domain.name: domain
    for domain in (
        InputDomain("real", elementwise=True),
        InputDomain("positive", elementwise=True),
        InputDomain("counts", elementwise=True),
        InputDomain("vectors"),
        InputDomain("signs", elementwise=True),
        InputDomain("binary", "probabilities", elementwise=True),
        InputDomain("binary_logits", "logits", elementwise=True),
        InputDomain("one_hot", "probabilities"),
        InputDomain("logits", "logits"),
        InputDomain("indices", "probabilities", "indices"),
        InputDomain("index_logits", "logits", "indices"),
        InputDomain("probabilities", "probabilities"),
        InputDomain("segmentation", "probabilities"),
        InputDomain("embeddings", labels="indices"),
        InputDomain("sequence", "logits", "indices"),
        InputDomain("distances", "distances"),
        InputDomain("boxes"),
        InputDomain("boxes_xywh"),
        InputDomain("ranking"),
        InputDomain("ranking_padded"),
        InputDomain("ranking_masked"),
        InputDomain("pairs"),
        InputDomain("packed_mask"),
        InputDomain("depth"),
    )
}


@dataclasses.dataclass(frozen=True)
class LossInputs:
    """What one loss takes, with one set of arguments."""

    loss: str
    #: A name out of `DOMAINS`.
    domain: str
    #: Of the draws over every magnitude; a new row takes the next hundred.
    seed: int
    #: The arguments with which the loss takes this domain, sample by sample.
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: The domain of a usual batch, where that is another one.
    usual: Optional[str] = None
    #: Whether a log-softmax or a focal power is inside, which costs a few roundings.
    deep: bool = False
    #: (label, arguments) of each curve worth comparing.
    curves: tuple[tuple[str, dict[str, Any]], ...] = (("", {}),)


_LOGITS = {"from_logits": True}
_AXIS = {"axis": -1}
_SMOOTHED = (("", {}), ("smoothed 0.2", {"label_smoothing": 0.2}))
_GAMMAS = tuple((f"gamma = {g:g}", {"gamma": g, "alpha": 1.0}) for g in (0.0, 0.5, 2.0))

_ALPHAS = tuple(
    (f"alpha = {a:g}, beta = {1 - a:g}", {"alpha": a, "beta": 1 - a})
    for a in (0.2, 0.5, 0.8)
)


def _settings(name, *values):
    return tuple((f"{name} = {value:g}", {name: value}) for value in values)


#: Every loss; a loss that takes probabilities or logits has a row for each, the
#: default first.
LOSSES = (
    LossInputs("MeanSquaredError", "real", 1000),
    LossInputs("MeanAbsoluteError", "real", 1100),
    LossInputs("MeanAbsolutePercentageError", "real", 1200, usual="positive"),
    LossInputs("MeanSquaredLogarithmicError", "positive", 1300),
    LossInputs("Huber", "real", 1400, curves=_settings("delta", 0.5, 1.0, 2.0)),
    LossInputs("LogCosh", "real", 1500),
    LossInputs("CosineSimilarity", "vectors", 1600),
    LossInputs("BinaryCrossentropy", "binary", 1700, curves=_SMOOTHED),
    LossInputs("BinaryCrossentropy", "binary_logits", 1800, _LOGITS),
    LossInputs("BinaryFocalCrossentropy", "binary", 2300, deep=True, curves=_settings("gamma", 0.0, 2.0)),
    LossInputs("BinaryFocalCrossentropy", "binary_logits", 2400, _LOGITS, deep=True),
    LossInputs("CategoricalCrossentropy", "one_hot", 1900, curves=_SMOOTHED),
    LossInputs("CategoricalCrossentropy", "logits", 2000, _LOGITS, deep=True),
    LossInputs("CategoricalFocalCrossentropy", "one_hot", 2500, deep=True, curves=_GAMMAS),
    LossInputs("CategoricalFocalCrossentropy", "logits", 2600, _LOGITS, deep=True),
    LossInputs("SparseCategoricalCrossentropy", "indices", 2100),
    LossInputs("SparseCategoricalCrossentropy", "index_logits", 2200, _LOGITS, deep=True),
    LossInputs("SparseCategoricalFocalCrossentropy", "indices", 2700, deep=True, curves=_GAMMAS),
    LossInputs("SparseCategoricalFocalCrossentropy", "index_logits", 2800, _LOGITS, deep=True),
    LossInputs("CategoricalGeneralizedCrossEntropy", "indices", 2900, curves=_settings("q", 0.1, 0.5, 0.9)),
    LossInputs("KLDivergence", "probabilities", 3000),
    LossInputs("Poisson", "counts", 3100, usual="positive"),
    LossInputs("Hinge", "signs", 3200),
    LossInputs("SquaredHinge", "signs", 3300),
    LossInputs("CategoricalHinge", "logits", 3400, usual="one_hot"),
    LossInputs("Dice", "segmentation", 3500, _AXIS),
    LossInputs("Tversky", "segmentation", 3600, _AXIS, curves=_ALPHAS),
    LossInputs("Circle", "embeddings", 3700, curves=_settings("gamma", 10.0, 40.0, 80.0)),
    LossInputs("CTC", "sequence", 3800, deep=True),
)  # fmt: skip

#: What a name says about the domain: the first fragment found in the name of a loss
#: wins. The last entry counts where the loss takes logits.
HINTS = (
    ("ctc", "sequence", "sequence"),
    ("pairwise", "ranking", "ranking"),
    ("listwise", "ranking", "ranking"),
    ("listmle", "ranking", "ranking"),
    ("ranking", "ranking", "ranking"),
    ("ndcg", "ranking", "ranking"),
    ("giou", "boxes", "boxes"),
    ("ciou", "boxes", "boxes"),
    ("diou", "boxes", "boxes"),
    ("simclr", "pairs", "pairs"),
    ("ntxent", "pairs", "pairs"),
    ("simsiam", "pairs", "pairs"),
    ("byol", "pairs", "pairs"),
    ("barlow", "pairs", "pairs"),
    ("vicreg", "pairs", "pairs"),
    ("depth", "depth", "depth"),
    ("silog", "depth", "depth"),
    ("scaleinvariant", "depth", "depth"),
    ("sparse", "indices", "index_logits"),
    ("categoricalhinge", "logits", "logits"),
    ("hinge", "signs", "signs"),
    ("binary", "binary", "binary_logits"),
    ("bce", "binary", "binary_logits"),
    ("categoricalgeneralized", "indices", "indices"),
    ("categorical", "one_hot", "logits"),
    ("kldiv", "probabilities", "probabilities"),
    ("poisson", "positive", "positive"),
    ("logarithmic", "positive", "positive"),
    ("percentage", "positive", "positive"),
    ("dice", "segmentation", "segmentation"),
    ("tversky", "segmentation", "segmentation"),
    ("jaccard", "segmentation", "segmentation"),
    ("iou", "segmentation", "segmentation"),
    ("circle", "embeddings", "embeddings"),
    ("triplet", "embeddings", "embeddings"),
    ("contrastive", "distances", "distances"),
    ("focal", "binary", "binary_logits"),
)


def hint(name: str, from_logits: bool) -> Optional[str]:
    """The domain that the name of any loss suggests, or None."""
    name = name.lower().replace("_", "").replace(" ", "")
    for fragment, probabilities, logits in HINTS:
        if fragment in name:
            return logits if from_logits else probabilities
    return None

"""Evaluation of weights on labeled data of their kind. Needs the extra `train`, for detectors `detection`."""

from pointcoc.evaluation.evaluation import Evaluation, evaluate_weights
from pointcoc.evaluation.sources import OPTIONS, Measurable, open_labeled

__all__ = ["OPTIONS", "Evaluation", "Measurable", "evaluate_weights", "open_labeled"]

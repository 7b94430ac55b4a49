"""How a network stands corrupted data, and data with points removed. Needs the extra `train`."""

from pointcoc.robustness.clouds import CLOUD_CORRUPTIONS, corrupt_cloud
from pointcoc.robustness.drawing import STRENGTHS
from pointcoc.robustness.images import IMAGE_CORRUPTIONS, corrupt_image
from pointcoc.robustness.inputs import open_views
from pointcoc.robustness.measure import PERCENTS, Robustness, accuracy_of, measure
from pointcoc.robustness.report import draw_robustness, to_json, to_markdown
from pointcoc.robustness.views import CloudViews, ImageViews, Views

__all__ = [
    "CLOUD_CORRUPTIONS",
    "IMAGE_CORRUPTIONS",
    "PERCENTS",
    "STRENGTHS",
    "CloudViews",
    "ImageViews",
    "Robustness",
    "Views",
    "accuracy_of",
    "corrupt_cloud",
    "corrupt_image",
    "draw_robustness",
    "measure",
    "open_views",
    "to_json",
    "to_markdown",
]

"""Old place of `pointcoc.models.WeightsInfo` and `ImageTransform`."""

from pointcoc.deprecation import moved

__getattr__ = moved(__name__, {name: f"pointcoc.models.{name}" for name in ("ImageTransform", "WeightsInfo")})

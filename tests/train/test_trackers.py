"""Which trackers a setting means; a wrong name and a missing package are said."""

import pytest

from pointcoc.train import Settings
from pointcoc.train.trackers import trackers_of


def test_tensorboard_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert trackers_of(Settings().trackers) == ["tensorboard"]
    assert trackers_of(("none",)) == []
    monkeypatch.setattr("pointcoc.train.trackers.get_available_trackers", list)
    assert trackers_of(("auto",)) == []


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("comet_ml", "comet-ml")])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setattr("pointcoc.train.trackers.get_available_trackers", list)
    with pytest.raises(ImportError, match=f"trackers has {name}, .* package {package}: pip install {package}$"):
        trackers_of((name,))


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("tensorbord",), "unknown tracker 'tensorbord'; choose from auto, none, aim, .*tensorboard.*, wandb"),
        (("none", "wandb"), "trackers must be auto, none, or different names, got none wandb"),
        (("wandb", "wandb"), "different names, got wandb wandb"),
        ((), "different names, got nothing"),
    ],
)
def test_a_wrong_setting_is_refused(names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings(trackers=names)

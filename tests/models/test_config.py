"""The configuration: values per stage, presets, and a sentence for every value that is not allowed."""

from __future__ import annotations

import dataclasses

import pytest

import pointcoc
from pointcoc import PRESETS, ContextClusterNet, NetworkConfig
from pointcoc.models import preset
from pointcoc.models.config import PER_STAGE


def test_one_value_stands_for_all_stages() -> None:
    config = NetworkConfig(heads=2, centers=3, window=7, mlp_ratios=2.5)
    assert config.heads == (2, 2, 2, 2)
    assert config.centers == (3, 3, 3, 3)
    assert config.window == (7, 7, 7, 7)
    assert config.mlp_ratios == (2.5, 2.5, 2.5, 2.5)


def test_one_value_per_stage() -> None:
    config = NetworkConfig(
        depths=[1, 1], dims=[8, 16], heads=4, head_dims=4, mlp_ratios=4, strides=4, neighbors=4, regions=4, centers=4
    )
    assert config.num_stages == 2
    assert config.depths == (1, 1)
    assert config.dims == (8, 16)
    assert config.strides == (4, 4)
    assert config.center_neighbors == (8, 8)
    assert config.window is None
    assert [geometry.window for geometry in config.geometry] == [None, None]


def test_replace_keeps_the_rest() -> None:
    config = preset("coc_nano")
    assert config.replace(depths=3).depths == (3, 3, 3)
    assert config.replace(depths=(1, 2, 3)).depths == (1, 2, 3)
    assert config.replace(regions=1) == preset("coc_nano", regions=(1, 1, 1))
    assert config.replace() == config


def test_windows_may_differ_or_be_absent_by_stage() -> None:
    config = preset("coc_tiny", window=(None, 7, None, 5))
    assert [geometry.window for geometry in config.geometry] == [None, 7, None, 5]
    assert preset("coc_tiny", window=(None,) * 4) == preset("coc_tiny")


def test_images_have_two_more_channels() -> None:
    assert preset("coc_nano", in_channels=1).input_dim == 3
    assert preset("coc_points", in_channels=6).input_dim == 6


def test_configuration_is_frozen_and_hashable() -> None:
    config = NetworkConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.num_classes = 3
    assert hash(config) == hash(NetworkConfig(depths=[3, 4, 5, 2]))
    with pytest.raises(TypeError):
        NetworkConfig(10)


def test_presets_are_valid_and_known() -> None:
    assert PRESETS is pointcoc.PRESETS
    for name, config in PRESETS.items():
        assert preset(name) == config
        assert config.num_stages == len(config.geometry)
    assert preset("coc_tiny") == NetworkConfig()


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'coc_huge'; choose from coc_tiny, .*coc_points_small"):
        preset("coc_huge")
    with pytest.raises(ValueError, match="unknown preset 'coc_huge'"):
        ContextClusterNet.from_preset("coc_huge")


def test_unknown_field() -> None:
    with pytest.raises(ValueError, match="unknown setting 'classes'; choose from normalizer, assignment, "):
        preset("coc_tiny", classes=3)
    with pytest.raises(ValueError, match="unknown setting 'classes'"):
        ContextClusterNet.from_preset("coc_tiny", classes=3)


@pytest.mark.parametrize("name", [name for name in PER_STAGE if name != "depths"])
def test_wrong_number_of_stages(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"^{name} must be one value or 4 \(one a stage, like depths\), got \(4, 4, 4\)"
    ):
        NetworkConfig(**{name: (4, 4, 4)})


@pytest.mark.parametrize("depths", [3, (), None])
def test_depths_must_be_listed(depths: object) -> None:
    with pytest.raises(ValueError, match=r"^depths must hold the blocks of each stage"):
        NetworkConfig(depths=depths)


@pytest.mark.parametrize(
    "name", ["depths", "dims", "heads", "head_dims", "strides", "neighbors", "regions", "centers", "center_neighbors"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, None])
def test_values_that_must_be_positive_integers(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must hold integers of at least 1, got"):
        NetworkConfig(**{name: (4, 4, value, 4)})
    if name != "depths":
        with pytest.raises(ValueError, match=rf"^{name} must hold integers of at least 1, got"):
            NetworkConfig(**{name: value})


@pytest.mark.parametrize("value", [0, -1])
def test_mlp_ratios_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match=r"^mlp_ratios must be positive, got"):
        NetworkConfig(mlp_ratios=value)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("anchors", "lattice, fps, voxel"),
        ("pool", "concat, max"),
        ("partition", "cells, curve"),
        ("proposals", "cells, fps, curve"),
        ("backend", "auto, center_side, triton, ragged, reference"),
        ("normalizer", "similarity, count"),
        ("assignment", "hard, soft"),
    ],
)
def test_choices(name: str, choices: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown {name} 'other'; choose from {choices}"):
        NetworkConfig(**{name: "other"})


@pytest.mark.parametrize("iterations", [0, 1.5])
def test_iterations(iterations: float) -> None:
    with pytest.raises(ValueError, match=f"^iterations must be an integer of at least 1, got {iterations}"):
        NetworkConfig(iterations=iterations)


@pytest.mark.parametrize("name", ["drop_path", "dropout"])
@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_probabilities(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be in \[0, 1\), got {value}"):
        NetworkConfig(**{name: value})


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"num_classes": -1}, "num_classes must be an integer of at least 0, got -1"),
        ({"in_channels": 0}, "in_channels must be an integer of at least 1, got 0"),
        ({"in_channels": 1.5}, r"in_channels must be an integer of at least 1, got 1\.5"),
        ({"pos_dim": 4}, "pos_dim must be 1, 2 or 3, got 4"),
    ],
)
def test_sizes(overrides: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        NetworkConfig(**overrides)


@pytest.mark.parametrize("name", ["coc_tiny", "coc_points"])
@pytest.mark.parametrize("window", [0, -2, float("inf")])
def test_windows_must_be_positive(name: str, window: int) -> None:
    with pytest.raises(ValueError, match=r"^window must be positive, got"):
        preset(name, window=window)


def test_windows_of_lattices_are_whole() -> None:
    with pytest.raises(ValueError, match=r"^window counts sites on a lattice and must be whole, got"):
        preset("coc_tiny", window=2.5)
    assert preset("coc_points", window=2.5).window == (2.5, 2.5, 2.5)


@pytest.mark.parametrize("proposals", ["fps", "curve"])
def test_lattices_propose_cells(proposals: str) -> None:
    sentence = f"proposals '{proposals}' needs anchors 'fps' or 'voxel'; lattices propose 'cells'"
    with pytest.raises(ValueError, match=sentence):
        preset("coc_tiny", proposals=proposals)


def test_lattices_are_split_into_cells() -> None:
    with pytest.raises(ValueError, match="partition 'curve' needs anchors 'fps' or 'voxel'; lattices are split into"):
        preset("coc_tiny", partition="curve", window=7)


def test_voxels_belong_to_their_anchors() -> None:
    with pytest.raises(
        ValueError, match=r"voxels needs anchors 'voxel', got voxels \(0.1, 0.2, 0.4\) and anchors 'fps'"
    ):
        preset("coc_points", voxels=(0.1, 0.2, 0.4))
    with pytest.raises(ValueError, match="anchors 'voxel' needs voxels, the edge of the cells of each stage"):
        preset("coc_points", anchors="voxel")
    with pytest.raises(ValueError, match=r"anchors 'voxel' needs voxels, .* got \(None, 1, 2, 3\)"):
        preset("coc_scene", voxels=(None, 1, 2, 3))
    assert [one.voxel for one in preset("coc_points", anchors="voxel", voxels=(1, 2, 3)).geometry] == [1, 2, 3]
    assert [one.voxel for one in preset("coc_points").geometry] == [None] * 3


@pytest.mark.parametrize("voxels", [(0, 1, 2, 3), (-1, 1, 2, 3), (1, 2, 3, float("inf")), (1, 2, 3, float("nan"))])
def test_voxels_must_be_positive(voxels: tuple) -> None:
    with pytest.raises(ValueError, match=r"^voxels must be positive, got"):
        preset("coc_scene", voxels=voxels)


@pytest.mark.parametrize("voxels", [0.1, (0.1, 0.2, 0.2, 0.4), (0.4, 0.3, 0.2, 0.1)])
def test_voxels_must_grow(voxels: object) -> None:
    with pytest.raises(ValueError, match=r"^voxels must grow from stage to stage, got \(0\."):
        preset("coc_scene", voxels=voxels)


@pytest.mark.parametrize("window", [None, 2.5, (16, 16, None, 16)])
def test_runs_along_a_curve_have_a_number_of_points(window: object) -> None:
    with pytest.raises(ValueError, match=r"^partition 'curve' needs window, the points of a region of each stage, as"):
        preset("coc_scene", window=window)


def test_proposals_fit_the_partition() -> None:
    with pytest.raises(ValueError, match="proposals 'curve' needs partition 'curve'; choose 'cells' or 'fps' for"):
        preset("coc_points", proposals="curve")
    with pytest.raises(ValueError, match="proposals 'cells' needs partition 'cells'; choose 'curve' or 'fps' for"):
        preset("coc_scene", proposals="cells")
    assert preset("coc_points", partition="curve", window=64, proposals="curve").partition == "curve"
    assert preset("coc_scene", partition="cells", window=None, proposals="cells").regions == (8, 4, 2, 1)


def test_windows_of_reducers_leave_no_point_out() -> None:
    with pytest.raises(ValueError, match=r"^neighbors \(4, 3, 3, 3\) must not be below strides \(5, 5, 5, 5\)"):
        preset("coc_tiny", strides=5)


def test_steps_of_reducers_halve() -> None:
    with pytest.raises(ValueError, match=r"^reducer 'steps' needs strides that are powers of two, got \(3, 3, 3, 3\)"):
        preset("coc_mini", strides=3)
    with pytest.raises(ValueError, match=r"^reducer 'steps' needs neighbors of at least 2, got \(1, 1, 1, 1\)"):
        preset("coc_mini", neighbors=1)
    with pytest.raises(
        ValueError, match=r"up to dims: they must be multiples of half the strides \(4, 2, 2, 2\), got \(63, 63,"
    ):
        preset("coc_mini", dims=63)
    with pytest.raises(
        ValueError, match=r"^reducer 'steps' needs anchors 'lattice', got 'fps': for clouds choose `pool`"
    ):
        preset("coc_points", reducer="steps")
    with pytest.raises(ValueError, match="unknown reducer 'step'; choose from window, steps"):
        preset("coc_mini", reducer="step")
    with pytest.raises(ValueError, match="unknown stage_norm 'layer'; choose from set, batch"):
        preset("coc_mini", stage_norm="layer")
    assert preset("coc_mini").steps(0) == ((4, 2), (4, 2), (3, 1))
    assert preset("coc_mini", strides=(4, 2, 2, 1)).steps(3) == ((3, 1),)
    assert preset("coc_tiny").steps(0) == ()

"""The authors' point-cloud checkpoints: names, wrappers, files, what does not fit."""

from __future__ import annotations

from pathlib import Path
from zlib import crc32

import pytest
import safetensors.torch
import torch
from official_pointmlp import FULL, official_pointmlp_shapes
from torch import Tensor

from pointcoc import PointMLPCoC, PointMLPConfig

SMALL = {"class_num": 3, "embed_dim": 4, "dim_expansion": [2, 2], "pre_blocks": [1, 2], "pos_blocks": [1, 2]}
CONFIG = PointMLPConfig(
    num_classes=3, embed_dim=4, depths=(1, 2), group_depths=(1, 2), dims=(8, 16), strides=2, neighbors=4
)

AFFINE, TRANSFER = "local_grouper_list.0.affine_alpha", "pre_blocks_list.0.transfer.net.0.weight"


def small_state(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random official tensors of a small network."""
    generator = torch.Generator().manual_seed(0)
    shapes = official_pointmlp_shapes(SMALL)
    return {
        name: torch.tensor(7) if name.endswith("tracked") else torch.rand(shape, generator=generator).to(dtype)
        for name, shape in shapes.items()
    }


def full_state(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Zeros that take no memory, in the official names and shapes of the preset."""
    shapes = official_pointmlp_shapes(FULL)
    return {name: torch.zeros((), dtype=dtype).expand(shape) for name, shape in shapes.items()}


def assert_same_weights(net: PointMLPCoC, other: PointMLPCoC) -> None:
    for (name, one), (other_name, two) in zip(net.state_dict().items(), other.state_dict().items(), strict=True):
        assert name == other_name
        assert torch.equal(one, two), name


def test_names_and_shapes_are_the_official_ones() -> None:
    shapes = official_pointmlp_shapes(FULL)
    assert len(shapes) == 310
    text = "\n".join(f"{name} {list(shape)}" for name, shape in sorted(shapes.items()))
    assert crc32(text.encode()) == 3812761363  # of the list of the authors' state dict


def test_the_full_official_state_dict_is_read() -> None:
    net = PointMLPCoC.from_official(full_state(torch.bfloat16))
    assert net.config == PointMLPConfig()
    assert not net.training
    assert len(net.state_dict()) == 310
    assert {parameter.dtype for parameter in net.parameters()} == {torch.bfloat16}
    assert all(not bool(value.any()) for value in net.state_dict().values())


def test_the_number_of_classes_is_read() -> None:
    state = full_state() | {"classifier.8.weight": torch.zeros(40, 256), "classifier.8.bias": torch.zeros(40)}
    assert PointMLPCoC.from_official(state).config.num_classes == 40


def test_a_few_tensors_arrive_where_they_belong() -> None:
    state = small_state()
    net = PointMLPCoC.from_official(state, CONFIG)
    pairs = {
        "embedding.net.0.weight": net.embedding.linear.weight,
        "local_grouper_list.1.affine_alpha": net.stages[1].norm.weight,
        "local_grouper_list.0.affine_beta": net.stages[0].norm.bias,
        "pre_blocks_list.1.transfer.net.1.running_var": net.stages[1].transfer.norm.running_var,
        "pre_blocks_list.1.operation.2.fc_v.weight": net.stages[1].group_blocks[1].cluster.v.weight,
        "pre_blocks_list.1.operation.2.fc2.bias": net.stages[1].group_blocks[1].cluster.proj.bias,
        "pre_blocks_list.1.operation.3.net2.0.weight": net.stages[1].group_blocks[1].residual.linear2.weight,
        "pre_blocks_list.1.operation.0.sim_beta": net.stages[1].group_blocks[0].cluster.beta,
        "pos_blocks_list.1.operation.1.net1.1.weight": net.stages[1].blocks[1].norm1.weight,
        "classifier.5.running_mean": net.hidden[1].norm.running_mean,
        "classifier.8.bias": net.head.bias,
    }
    for name, value in pairs.items():
        assert torch.equal(value, state[name].view_as(value)), name
    assert int(net.hidden[0].norm.num_batches_tracked) == 7


@pytest.mark.parametrize("wrapper", ["net", "state_dict", "model", "state_dict_ema"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrappers_and_prefixes(wrapper: str, prefix: str) -> None:
    wrapped = {"epoch": 3, wrapper: {prefix + name: value for name, value in small_state().items()}}
    assert_same_weights(PointMLPCoC.from_official(wrapped, CONFIG), PointMLPCoC.from_official(small_state(), CONFIG))


@pytest.mark.parametrize("file_name", ["weights.safetensors", "weights.pth"])
def test_files(tmp_path: Path, file_name: str) -> None:
    state, path = small_state(torch.float64), tmp_path / file_name
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save({"net": state, "epoch": 3}, path)
    net = PointMLPCoC.from_official(path, CONFIG)
    assert net.head.weight.dtype == torch.float64
    assert_same_weights(net, PointMLPCoC.from_official(state, CONFIG))


def test_the_input_mapping_is_left_alone() -> None:
    state = small_state()
    net = PointMLPCoC.from_official(state, CONFIG)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    assert all(torch.equal(value, state[name]) for name, value in small_state().items())


def test_names_missing_and_left_over() -> None:
    state = small_state() | {"neck.weight": torch.zeros(2)}
    del state["classifier.8.bias"]
    with pytest.raises(ValueError, match=r"does not fit .* 1 missing: head\.bias; 1 left over: neck\.weight"):
        PointMLPCoC.from_official(state, CONFIG)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        (TRANSFER, (8, 9, 1), r"transfer\.linear\.weight \(8, 9, 1\) instead of \(8, 8\)"),
        (AFFINE, (1, 1, 1, 5), r"norm\.weight \(5,\) instead of \(4,\)"),
        (AFFINE, (1, 2, 1, 4), r"norm\.weight \(1, 2, 1, 4\) instead of \(4,\)"),
    ],
)
def test_one_wrong_shape_is_named(name: str, shape: tuple[int, ...], message: str) -> None:
    state = small_state() | {name: torch.zeros(shape)}
    with pytest.raises(ValueError, match=f"does not fit .* 1 of another shape: stages.0.{message}"):
        PointMLPCoC.from_official(state, CONFIG)


def test_a_network_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"does not fit .*missing.*and \d+ more; .*of another shape"):
        PointMLPCoC.from_official(small_state())


def test_a_checkpoint_of_something_else() -> None:
    state = {"patch_embed.proj.weight": torch.zeros(2), "head.bias": torch.zeros(2)}
    message = r"such as embedding\.net\.0\.weight, got head\.bias, patch_embed\.proj\.weight; weights of image networks"
    with pytest.raises(ValueError, match=message):
        PointMLPCoC.from_official(state)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"weights\.pth is not a file"):
        PointMLPCoC.from_official(tmp_path / "weights.pth")
    (tmp_path / "weights.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is truncated or not a checkpoint"):
        PointMLPCoC.from_official(tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match="checkpoint holds no tensors"):
        PointMLPCoC.from_official({"epoch": 3})

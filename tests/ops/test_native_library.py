"""Where the native kernels cannot run, a sentence says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointcoc.ops import native_library as module
from pointcoc.ops.native_library import native_library, why_not_native


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path))
    module._load.cache_clear()
    yield
    module._load.cache_clear()


def able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str = "avx512f avx512_bf16") -> None:
    """As on a machine that has all that it takes, but for what a test takes away."""
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: fpu {flags} sse4_2\n")
    monkeypatch.setattr(module, "CPU_FLAGS", tmp_path / "cpuinfo")


def test_another_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    able(monkeypatch, tmp_path)
    monkeypatch.setattr(module.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(module.platform, "machine", lambda: "arm64")
    assert why_not_native() == "native kernels are for Linux on x86_64, this is Darwin on arm64"


def test_another_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    able(monkeypatch, tmp_path, "avx2")
    with pytest.raises(RuntimeError, match=r"need a processor with AVX-512 and its bfloat16 products \(avx512_bf16\)"):
        native_library()


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    able(monkeypatch, tmp_path)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match=r"need a C\+\+ compiler, none of g\+\+, c\+\+ is installed"):
        native_library()


def test_a_compiler_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    able(monkeypatch, tmp_path)
    broken = tmp_path / "broken"
    broken.write_text('#!/bin/sh\n[ "$1" = --version ] && exit 0\necho "unknown option -mavx512bf16" >&2\nexit 1\n')
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert why_not_native() == f"native kernels could not be compiled by {broken}: unknown option -mavx512bf16"
    assert not list((tmp_path / "native").iterdir())


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    able(monkeypatch, tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("POINTCOC_HOME", str(tmp_path / "file"))
    reason = why_not_native()
    assert reason is not None
    assert reason.startswith("native kernels could not be compiled or loaded: ")


def test_it_is_compiled_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reason = why_not_native()
    if reason is not None:
        pytest.skip(reason)
    assert [path.suffix for path in (tmp_path / "native").iterdir()] == [".so"]
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("compiled again"))
    module._load.cache_clear()
    assert native_library() is not None

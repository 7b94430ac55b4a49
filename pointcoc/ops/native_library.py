"""The compiled library of native/: built once on the machine that runs it, kept in the user's cache."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from pointcoc.files import atomic, cache_folder

SOURCES = Path(__file__).with_name("native")
CPU_FLAGS = Path("/proc/cpuinfo")
COMPILERS = ("g++", "c++")
INSTRUCTIONS = ("-mfma", "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512bf16")
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-fopenmp", "-w", *INSTRUCTIONS)


def why_not_native() -> str | None:
    """Return why the native kernels cannot run here, as a sentence, or None if they can; the first call compiles."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"native kernels are for Linux on x86_64, this is {platform.system()} on {platform.machine()}"
    if "avx512_bf16" not in CPU_FLAGS.read_text().split():
        return "native kernels need a processor with AVX-512 and its bfloat16 products (avx512_bf16)"
    return _load()[1]


def native_library() -> ctypes.CDLL:
    """Return the library.

    Raises:
        RuntimeError: if the native kernels cannot run here; the message says why.
    """
    reason = why_not_native()
    if reason is not None:
        raise RuntimeError(reason)
    library = _load()[0]
    assert library is not None
    return library


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str | None]:
    compiler = _compiler()
    if compiler is None:
        return (
            None,
            f"native kernels need a C++ compiler, none of {', '.join(COMPILERS)} is installed and CXX is not set",
        )
    try:
        path = _library_path(compiler)
        if not path.exists():
            _build(compiler, path)
        return _open(path), None
    except subprocess.CalledProcessError as error:
        return None, f"native kernels could not be compiled by {compiler}: {error.stderr.strip()[-500:]}"
    except OSError as error:
        return None, f"native kernels could not be compiled or loaded: {error}"


def _compiler() -> str | None:
    return next((found for name in (os.environ.get("CXX"), *COMPILERS) if name and (found := shutil.which(name))), None)


def _library_path(compiler: str) -> Path:
    """A file name that changes with all that the library is made of, in the cache folder."""
    version = subprocess.run([compiler, "--version"], capture_output=True, check=True, text=True).stdout
    sources = (path.read_text() for path in sorted(SOURCES.iterdir()) if path.suffix in (".h", ".cpp"))
    key = hashlib.sha256("\n".join((*sources, compiler, version, *FLAGS)).encode()).hexdigest()[:16]
    return cache_folder("native", f"stage-{key}.so")


def _build(compiler: str, path: Path) -> None:
    """Compile under another name and rename: other processes see a whole library or none."""
    with atomic(path, is_shared=True) as built:
        command = [compiler, *FLAGS, str(SOURCES / "stage.cpp"), "-o", str(built)]
        subprocess.run(command, capture_output=True, check=True, text=True)


def _open(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    pointer = ctypes.c_void_p
    library.pointcoc_stage.restype = None
    eps = ctypes.c_float
    library.pointcoc_stage.argtypes = [pointer, pointer, ctypes.c_long, pointer, eps, eps, pointer, ctypes.c_int]
    return library

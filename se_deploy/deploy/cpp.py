"""A CMake project around an engine: the loader's sources, a sample program, the engine and its manifest. It builds as it is."""

from __future__ import annotations

from pathlib import Path

from se_deploy.artifacts import EngineManifest, FileRef
from se_deploy.files import runtime_sources

Files = dict[str, Path | str]

_TENSORRT = "{} headers (`-DSE_TENSORRT_INCLUDE=DIR`) and CUDA's (`-DSE_CUDA_INCLUDE=DIR`)"
_ORT = "ONNX Runtime's C header (Debian 13: `libonnxruntime-dev`; or `-DSE_ONNXRUNTIME_INCLUDE=DIR`)"
#: A backend -> what its engines need to compile, the library that they need to run, and the variable that names another one.
_NEEDS = {
    "onnxruntime": (_ORT, "libonnxruntime.so.1", "SE_ONNXRUNTIME"),
    "tensorrt": (_TENSORRT.format("TensorRT's"), "libnvinfer.so", "SE_TENSORRT"),
    "tensorrt-rtx": (_TENSORRT.format("TensorRT-RTX's"), "libtensorrt_rtx.so", "SE_TENSORRT"),
}


def supported() -> tuple[str, ...]:
    """The backends whose engines the loader opens."""
    return tuple(_NEEDS)


def project(engine: Path, manifest: EngineManifest, plugin: Path | None) -> Files:
    """The project's files by relative path: a file to copy, or a text."""
    sources = runtime_sources()
    files: Files = {
        f"runtime/{path.relative_to(sources)}": path for path in sorted(sources.rglob("*")) if path.is_file() and "fuzz" not in path.parts
    }
    described = manifest.model_copy(update={"engine": FileRef(file=engine.name, sha256=manifest.engine.sha256)})
    files |= {f"model/{engine.name}": engine, f"model/{engine.name}.json": described.model_dump_json(indent=2) + "\n"}
    weights = engine.with_name(f"{engine.name}.data")
    if weights.is_file():
        files[f"model/{weights.name}"] = weights
    if plugin is not None:
        files[f"model/{plugin.name}"] = plugin
        reference = manifest.plugin
        assert reference is not None  # the caller read it from there
        moved = described.model_copy(update={"plugin": reference.model_copy(update={"file": plugin.name})})
        files[f"model/{engine.name}.json"] = moved.model_dump_json(indent=2) + "\n"
    return files | {"CMakeLists.txt": _CMAKE, "README.md": _readme(engine, manifest)}


_CMAKE = """\
# Written by se-deploy. The loader and the sample program are in runtime/; add your own program here.
cmake_minimum_required(VERSION 3.18)
project(se_model LANGUAGES CXX)
add_subdirectory(runtime)
# add_executable(mine main.cpp)
# target_link_libraries(mine PRIVATE se_runtime)
"""


def _readme(engine: Path, manifest: EngineManifest) -> str:
    headers, library, variable = _NEEDS[manifest.backend]
    return f"""# {manifest.name}

Written by se-deploy from `{manifest.source.file}`: {manifest.backend}, {manifest.precision}, {manifest.se_blocks} SE blocks.

    cmake -B build && cmake --build build
    ./build/runtime/se_classify model/{engine.name} photo.jpg

To compile: CMake 3.18, a C++17 compiler, libjpeg and libpng (Debian: `libjpeg-dev libpng-dev`) for the sample program, and {headers}.
To run: `{library}`, opened at run time; `{variable}=/path/to/it` names another than the system's.

`runtime/engine.h` is the interface for C++, `runtime/c_api.h` the one for C and everything else. The manifest beside the engine says what
the network takes, how its images are prepared, and which hashes and versions are right: all of it is checked before the engine is opened.
"""

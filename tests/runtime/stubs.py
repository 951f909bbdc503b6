"""Stand-ins for what a machine without a GPU lacks: a TensorRT that only says its version, a driver that only says what GPU there is."""

from __future__ import annotations

from pathlib import Path

from tests.runtime import compiled

_TENSORRT = """
int getInferLibVersion(void) {{ return {version}; }}
void* createInferRuntime_INTERNAL(void* logger, int version) {{ return 0; }}
"""

#: cuInit answers `init`; device 0 is of compute capability `major`.`minor`. Nothing else is called before TensorRT is.
_DRIVER = """
#include <string.h>
static int zero(void) {{ return 0; }}
int cuInit(unsigned flags) {{ return {init}; }}
int cuDriverGetVersion(int* version) {{ *version = {cuda}; return 0; }}
int cuDeviceGetCount(int* count) {{ *count = {count}; return 0; }}
int cuDeviceGet(int* device, int number) {{ *device = number; return 0; }}
int cuDeviceGetName(char* name, int room, int device) {{ strncpy(name, "Stub GPU", room); return 0; }}
int cuDeviceGetAttribute(int* value, int which, int device) {{ *value = which == 75 ? {major} : {minor}; return 0; }}
int cuGetErrorString(int error, const char** text) {{ *text = error == 100 ? "no CUDA-capable device is detected" : 0; return 0; }}
int cuDevicePrimaryCtxRetain(void** context, int device) {{ *context = (void*)zero; return 0; }}
int cuDevicePrimaryCtxRelease_v2(int device) {{ return 0; }}
int cuCtxSetCurrent(void* context) {{ return 0; }}
int cuStreamCreate(void** stream, unsigned flags) {{ *stream = (void*)zero; return 0; }}
int cuStreamDestroy_v2(void* stream) {{ return 0; }}
int cuStreamSynchronize(void* stream) {{ return 0; }}
#include <stdlib.h>
int cuMemAlloc_v2(unsigned long long* made, size_t bytes) {{ *made = (unsigned long long)malloc(bytes); return 0; }}
int cuMemFree_v2(unsigned long long made) {{ free((void*)made); return 0; }}
int cuMemAllocHost_v2(void** made, size_t bytes) {{ *made = malloc(bytes); return 0; }}
int cuMemFreeHost(void* made) {{ free(made); return 0; }}
typedef unsigned long long Address;
int cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {{ memcpy((void*)to, from, bytes); return 0; }}
int cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {{ memcpy(to, (void*)from, bytes); return 0; }}
"""


def tensorrt(folder: Path, version: int, name: str = "libnvinfer.so.10") -> Path:
    """A library that says it is TensorRT `version`, such as 101303."""
    return _compiled(_TENSORRT.format(version=version), folder, name)


def driver(folder: Path, *, init: int = 0, count: int = 1, capability: tuple[int, int] = (8, 9), cuda: int = 13000) -> Path:
    """A libcuda.so.1 in a folder for LD_LIBRARY_PATH."""
    major, minor = capability
    return _compiled(_DRIVER.format(init=init, count=count, major=major, minor=minor, cuda=cuda), folder, "libcuda.so.1").parent


def no_driver(folder: Path) -> Path:
    """A folder for LD_LIBRARY_PATH whose libcuda.so.1 does not load, so that a machine with a GPU has none either."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "libcuda.so.1").write_bytes(b"no library at all, and longer than an ELF header, which is what is looked at first")
    return folder


def _compiled(source: str, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.c"
    file.write_text(source)
    compiled.run(["cc", "-w", "-shared", "-fPIC", str(file), "-o", str(folder / name)])
    return folder / name

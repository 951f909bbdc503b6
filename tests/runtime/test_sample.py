"""The sample program, under AddressSanitizer and UndefinedBehaviorSanitizer: image files of every kind, decoded as Pillow decodes them."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from se_deploy import package
from se_deploy.artifacts import Preprocess
from se_deploy.images import decode, preprocess
from tests.runtime import compiled, identity
from tests.serving import engines
from tests.stages import exports

HOW = Preprocess(resize=(61, 83), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
GREY = Preprocess(resize=(61, 83), color="L", mean=(0.0,), std=(1.0,))


def photograph(mode: str = "RGB") -> Image.Image:
    return Image.fromarray(load_sample_images().images[1]).crop((101, 50, 350, 217)).convert(mode)


def sixteen_bits(channels: int) -> bytes:
    """A PNG of 16 bits a channel, written by hand because Pillow writes only the grey one."""
    pixels = np.random.default_rng(channels).integers(0, 65536, (37, 41, channels)).astype(">u2")

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 41, 37, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str, **words: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **words)
    return out.getvalue()


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "a camera", orientation
    return saved(photograph(), kind, exif=exif)


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(photograph(), "jpeg", quality=90),
    "jpeg 4:4:4": lambda: saved(photograph(), "jpeg", quality=95, subsampling=0),
    "jpeg progressive": lambda: saved(photograph(), "jpeg", progressive=True),
    "jpeg grey": lambda: saved(photograph("L"), "jpeg"),
    "jpeg cmyk": lambda: saved(photograph("CMYK"), "jpeg", quality=95),
    **{f"jpeg turned {n}": lambda n=n: turned("jpeg", n) for n in range(1, 10)},
    "png": lambda: saved(photograph(), "png"),
    "png grey": lambda: saved(photograph("L"), "png"),
    "png alpha": lambda: saved(photograph("RGBA"), "png"),
    "png grey alpha": lambda: saved(photograph("LA"), "png"),
    "png palette": lambda: saved(photograph().quantize(64), "png"),
    "png palette of 4 bits": lambda: saved(photograph().quantize(9), "png", bits=4),
    "png palette with transparency": lambda: saved(photograph().quantize(64), "png", transparency=3),
    "png black and white": lambda: saved(photograph("1"), "png"),
    "png 16-bit grey": lambda: sixteen_bits(1),
    "png 16-bit grey alpha": lambda: sixteen_bits(2),
    "png 16-bit": lambda: sixteen_bits(3),
    "png 16-bit alpha": lambda: sixteen_bits(4),
    "png transparent colour": lambda: saved(photograph(), "png", transparency=(1, 2, 3)),
    "png turned 6": lambda: turned("png", 6),
    "one pixel": lambda: saved(photograph().crop((0, 0, 1, 1)), "png"),
}  # fmt: skip


def classify(program: Path, engine: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(program), str(engine), *words], capture_output=True, text=True, check=False, env=compiled.environment(**more)
    )
    assert "Sanitizer" not in done.stderr, done.stderr[:4000]
    assert "runtime error" not in done.stderr, done.stderr[:4000]
    return done


@pytest.mark.parametrize("how", [HOW, GREY], ids=["colour", "grey"])
def test_files_of_every_kind_are_decoded_and_prepared_as_in_python(sanitized: Path, tmp_path: Path, how: Preprocess) -> None:
    """All in one run, in batches of up to four; to 1/255, which is one step of a pixel."""
    engine = identity.engine(tmp_path / "engine", how)
    files = []
    for name, make in FILES.items():
        files.append(tmp_path / f"{name.replace(' ', '_').replace(':', '')}.bin")
        files[-1].write_bytes(make())
    done = classify(sanitized, engine, *map(str, files), "--raw", str(tmp_path / "raw"))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(FILES)
    got = np.fromfile(tmp_path / "raw", np.float32).reshape(len(FILES), 3 if how is HOW else 1, 61, 83)
    for name, path, row in zip(FILES, files, got, strict=True):
        expected = preprocess(decode(path, how.color), how)
        assert np.abs(row - expected).max() <= 1 / 255 + 1e-6, name
        if "jpeg" not in name:  # another libjpeg may round otherwise; PNG leaves no choice
            assert np.array_equal(row, expected), name


BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is neither JPEG nor PNG"),
    "text": (lambda: b"hello", "is neither JPEG nor PNG"),
    "half a jpeg": (lambda: saved(photograph(), "jpeg")[:3000], "is not a readable JPEG"),
    "the start of a jpeg": (lambda: b"\xff\xd8", "is not a readable JPEG"),
    "half a png": (lambda: saved(photograph(), "png")[:3000], "is not a readable PNG: it is cut off"),
    "the start of a png": (lambda: b"\x89PNG\r\n\x1a\n", "is not a readable PNG"),
    "a damaged png": (lambda: saved(photograph(), "png").replace(b"IDAT", b"IDAX"), "is not a readable PNG"),
    "a bomb": (lambda: saved(Image.new("1", (30_000, 30_000)), "png"), "it has too many pixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_file_that_is_no_image_is_one_clear_line(sanitized: Path, tmp_path: Path, case: str) -> None:
    make, said = BROKEN[case]
    (tmp_path / "file").write_bytes(make())
    done = classify(sanitized, identity.engine(tmp_path / "engine", HOW), str(tmp_path / "file"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize("seed", range(12))
def test_damaged_files_never_crash(sanitized: Path, tmp_path: Path, seed: int) -> None:
    """Bytes changed at random places of a JPEG with EXIF and of a PNG: an error or an answer, no crash and no stray read."""
    rng = np.random.default_rng(seed)
    engine = identity.engine(tmp_path / "engine", HOW)
    for kind in ("jpeg", "png"):
        data = bytearray(turned(kind, 6))
        for place in rng.integers(2, min(len(data), 400 if seed % 2 else len(data)), 8):
            data[place] = rng.integers(256)
        (tmp_path / kind).write_bytes(bytes(data))
        assert classify(sanitized, engine, str(tmp_path / kind)).returncode in (0, 1)


@pytest.mark.slow
def test_the_packaged_project_builds_and_answers(tmp_path: Path) -> None:
    """`package --cpp`, `cmake -B build`, `cmake --build build`, and the classes that Python finds."""
    compiled.tools("cmake", "c++")
    engine = engines.engine(tmp_path / "built")
    project = package(engine, cpp=tmp_path / "project").output
    compiled.run(["cmake", "-S", str(project), "-B", str(project / "build"), f"-DSE_ONNXRUNTIME_INCLUDE={compiled.header()}"])
    compiled.run(["cmake", "--build", str(project / "build"), "--parallel", "2"])
    pictures = exports.pictures(tmp_path / "imgs", 40)
    files = sorted(pictures.iterdir())
    raw = tmp_path / "raw"
    done = classify(project / "build/runtime/se_classify", project / "model/engine.onnx", *map(str, files), "--raw", str(raw))
    assert done.returncode == 0, done.stderr
    expected = np.concatenate([engines.session_answers(engine, exports.batch(pictures, 40)[k : k + 32]) for k in (0, 32)])
    np.testing.assert_allclose(np.fromfile(raw, np.float32).reshape(40, 10), expected, atol=1e-5)
    best = [line.rpartition(" (")[0].split("\t")[1] for line in done.stdout.splitlines()]
    assert best == [engines.LABELS[index] for index in expected.argmax(axis=1)]


def test_too_few_words_and_a_missing_library_are_told(sanitized: Path, tmp_path: Path) -> None:
    done = classify(sanitized, tmp_path)
    assert done.stderr == "error: too few words; se_classify ENGINE IMAGE... [--raw FILE]\n"
    engine = identity.engine(tmp_path / "engine", HOW)
    done = classify(sanitized, engine, "x.jpg", SE_ONNXRUNTIME="/nowhere/libonnxruntime.so")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ONNX Runtime is not here: /nowhere/libonnxruntime.so: cannot open shared object file")
    done = classify(sanitized, engine, "x.jpg", SE_ONNXRUNTIME="libm.so.6")
    assert done.stderr == "error: libm.so.6 is not ONNX Runtime; name the right library in SE_ONNXRUNTIME\n"

"""What the demo needs before its three lines: labelled images in class folders, and a network trained on them."""

from __future__ import annotations

from pathlib import Path

from se_deploy.artifacts import Progress, silent
from se_deploy.errors import SeDeployError
from se_deploy.images import find_images

#: Of scikit-learn's 1,797 digits, in an order that a fixed seed shuffles: the rest are for the test.
TRAIN, CALIBRATION = 1000, 200


def draw_digits(root: Path, *, progress: Progress = silent) -> None:
    """Draws scikit-learn's handwritten digits as 32x32 RGB files: `root/{train,calib,test}/<digit>/<number>.png`.

    Raises:
        SeDeployError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise SeDeployError("the demo's images come with scikit-learn, which is not installed", "pip install 'se-deploy[demo]'") from error
    import numpy as np
    from PIL import Image

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    for position, number in enumerate(order):
        part = "train" if position < TRAIN else "calib" if position < TRAIN + CALIBRATION else "test"
        folder = root / part / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        grey = Image.fromarray((digits.images[number] * (255 / 16)).astype(np.uint8))
        grey.resize((32, 32), Image.Resampling.BICUBIC).convert("RGB").save(folder / f"{number:04d}.png")
        progress("draw the digits", position + 1, len(order))


def prepare(root: Path, *, progress: Progress = silent) -> Path:
    """Draws the images and trains the network.

    Returns:
        The checkpoint, `root/se_resnet18_digits.pt`; images are in `root/imgs`.
    """
    from se_deploy.networks.demo import train

    draw_digits(root / "imgs", progress=progress)
    checkpoint = root / "se_resnet18_digits.pt"
    train(find_images(root / "imgs" / "train"), checkpoint, progress=progress)
    return checkpoint

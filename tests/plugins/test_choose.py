"""Which road a node takes on which device: a table, and what must hold for any shape."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.plugins.cases import Device
from tests.plugins.layouts import ATOMS, LEGAL, SIZES
from tests.plugins.planning import DEVICES, Node, planned

#: s(plit), c(luster), p(ersistent), in the order of DEVICES: T4, A100, RTX 3090, L4, H100, B200, RTX 5090. SE-ResNet-50's four stages.
TABLE = {
    # 256 x 56 x 56: one image in a cluster's shared memory; a batch fits L2, or images of it do
    Node("float16", 1, 256, 16, 3136): "ssssccs",
    Node("float16", 8, 256, 16, 3136): "pspsccs",
    Node("float16", 32, 256, 16, 3136): "ppppccp",
    Node("float16", 128, 256, 16, 3136): "ppppccp",
    Node("float32", 128, 256, 16, 3136): "spppppp",  # an image of 3.2 MB: too large for a cluster, and for a T4's L2
    # 512 x 28 x 28
    Node("float16", 32, 512, 32, 784): "ppppccs",
    Node("int8", 128, 512, 32, 784, "chw32"): "ppppccp",
    Node("int8", 8, 512, 32, 784, "chw32"): "pspsccs",
    # 1024 x 14 x 14: more weights than image; a little more is worth it where x stays on chip
    Node("float16", 32, 1024, 64, 196): "ssssccs",
    Node("float16", 128, 1024, 64, 196): "ssssccs",
    # 2048 x 7 x 7: ten times more weights than image; the cluster only while each image has multiprocessors of its own
    Node("float16", 1, 2048, 128, 49): "ssssccs",
    Node("float16", 32, 2048, 128, 49): "ssssccs",
    Node("float16", 128, 2048, 128, 49): "sssssss",
    # one FC (ESE): C x C weights
    Node("float16", 128, 256, 0, 3136, act="none"): "ppppccp",
    # eight channels of an image larger than any L2
    Node("float32", 1, 8, 2, 4096 * 4096): "sssssss",
}


def image_bytes(node: Node) -> int:
    atom = ATOMS[node.layout]
    return -(-node.c // atom) * atom * node.hw * SIZES[node.dtype]


@pytest.mark.parametrize("node", TABLE, ids=str)
def test_the_road_of_a_node(binary: Path, node: Node) -> None:
    assert "".join(plan["road"][0] for plan in planned(binary, [(node, device) for device in DEVICES.values()])) == TABLE[node]


def any_node(rng: random.Random) -> Node:
    dtype, layout = rng.choice([(dtype, layout) for dtype, layouts in LEGAL.items() for layout in layouts])
    n, c, r = (int(2 ** rng.uniform(0, top)) for top in (9, 13, 10))
    return Node(dtype, n, c, r, int(2 ** rng.uniform(0, 24)), layout, rng.choice(["relu", "none"]))


def test_every_plan_keeps_to_the_device(binary: Path) -> None:
    rng = random.Random(6)
    asked = [(any_node(rng), rng.choice(list(DEVICES.values()))) for _ in range(5000)]
    seen = set()
    for (node, device), plan in zip(asked, planned(binary, asked), strict=True):
        what = f"{node} on {device}: {plan}"
        seen.add(plan["road"])
        atoms = -(-node.c // ATOMS[node.layout])
        assert plan["shared"] <= device.shared_per_block, what
        assert 1 <= plan["blocks"] <= atoms, what
        if plan["road"] == "cluster":
            assert device.sm in (90, 100), what
            assert plan["blocks"] in (1, 2, 4, 8), what
            assert plan["blocks"] * plan["shared"] > image_bytes(node), what
        if plan["road"] == "persistent":
            assert plan["blocks"] * plan["groups"] <= device.multiprocessors, what
            under_way = 2 * plan["groups"] if plan["groups"] > 1 else 1
            assert under_way * image_bytes(node) <= device.l2 * 3 // 4, what
            assert plan["groups"] <= node.n, what
        if plan["road"] == "split":
            assert plan["jobs"] < 1 << 31, what
    assert seen == {"split", "cluster", "persistent"}


def test_the_workspace_never_shrinks_when_the_batch_grows(binary: Path) -> None:
    rng = random.Random(7)
    for _ in range(60):
        node, device = any_node(rng), rng.choice(list(DEVICES.values()))
        batches = [Node(node.dtype, n, node.c, node.r, node.hw, node.layout, node.act) for n in range(1, 140)]
        sizes = [plan["workspace"] for plan in planned(binary, [(batch, device) for batch in batches])]
        assert sizes == sorted(sizes), f"{node} on {device}"
        assert sizes[0] > 0


def test_the_workspace_depends_on_the_number_of_multiprocessors_alone_and_grows_with_it(binary: Path) -> None:
    """The plugin asks for it at build time, on a machine that may have another card or none."""
    rng = random.Random(8)
    for _ in range(100):
        node = any_node(rng)
        counts = sorted(rng.randint(1, 256) for _ in range(9))
        devices = [replace(rng.choice(list(DEVICES.values())), multiprocessors=count) for count in counts]
        nothing = [Device(0, count, 0, 0, 0) for count in counts]
        sizes = [plan["workspace"] for plan in planned(binary, [(node, device) for device in devices + nothing])]
        assert sizes[:9] == sizes[9:] == sorted(sizes[:9]), f"{node}"

"""Either exporter: what it writes, what it refuses, and that the module is as before."""

import copy
import logging
import sys

import onnxruntime as ort
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from se_deploy.errors import ExportError
from se_deploy.graph.ports import declared
from se_deploy.networks.exporting import candidates, reason, to_onnx
from se_deploy.networks.quiet import quiet

EXPORTERS = ("dynamo", "torchscript")
BOTH = pytest.mark.parametrize("exporter", EXPORTERS)
BATCH = {0: "batch"}


class Squeeze(nn.Module):
    """A small SE network; BatchNorm and dropout tell training from inference."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.drop = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.down, self.up = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.norm(self.conv(x)))
        return x * self.up(self.down(x.mean((2, 3), keepdim=True)).relu()).sigmoid()


class FrozenInt(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(int(x.shape[0]), -1)


class Branch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 if x.mean() > 0 else x


class Several(nn.Module):
    def forward(self, x: Tensor) -> dict[str, object]:
        return {"map": x * 2, "rest": [x.mean((2, 3)), None]}


class Deaf(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones(2, 3)


def images(batch: int = 2, side: int = 16) -> Tensor:
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))


def names(model: object) -> tuple[list[tuple[str, tuple]], list[tuple[str, tuple]]]:
    return [(v.name, declared(v)) for v in model.graph.input], [(v.name, declared(v)) for v in model.graph.output]


@BOTH
@pytest.mark.parametrize("opset", [18, 20])
def test_equal_at_other_batches_and_the_module_is_as_before(exporter: str, opset: int) -> None:
    torch.manual_seed(0)
    module = Squeeze().train()
    nn.init.uniform_(module.norm.running_var, 0.5, 2)
    module.down.eval()
    before = copy.deepcopy(module.state_dict())
    model = to_onnx(module, images(), exporter, opset=opset, input_name="pixels", output_names=["map"], dynamic=BATCH)
    assert names(model)[0] == [("pixels", ("batch", 3, 16, 16))]
    assert names(model)[1][0][1][0] == "batch"
    assert [o.version for o in model.opset_import if not o.domain] == [opset]
    assert [part.training for part in module.modules()] == [True, True, True, True, False, True]
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.conv.weight.requires_grad
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (got,) = session.run(None, {"pixels": images(batch).numpy()})
        torch.testing.assert_close(torch.from_numpy(got), module.eval()(images(batch)).detach(), rtol=0, atol=1e-6)


@BOTH
def test_outputs_are_flattened_and_named(exporter: str) -> None:
    model = to_onnx(Several(), images(), exporter, output_names=["output_0", "output_1"], dynamic={0: "batch", 2: "height", 3: "width"})
    (given,), (first, second) = names(model)
    assert given == ("input", ("batch", 3, "height", "width"))
    assert first == ("output_0", ("batch", 3, "height", "width"))
    assert second == ("output_1", ("batch", 3))


@BOTH
def test_a_fixed_batch(exporter: str) -> None:
    model = to_onnx(FrozenInt(), images(4), exporter)
    assert names(model) == ([("input", (4, 3, 16, 16))], [("output", (4, 768))])


def test_dynamo_says_where_the_network_fixes_the_batch() -> None:
    with pytest.raises(ExportError, match="^the network fixes its batch to 2"):
        to_onnx(FrozenInt(), images(), "dynamo", dynamic=BATCH)


def test_an_input_that_nothing_reads_is_refused() -> None:
    with pytest.raises(ExportError, match=r"inputs \[\] and outputs"):
        to_onnx(Deaf(), images(), "torchscript")


def test_opset_13_by_torchscript() -> None:
    model = to_onnx(Squeeze(), images(), "torchscript", opset=13, dynamic=BATCH)
    assert [o.version for o in model.opset_import if not o.domain] == [13]


def test_another_opset_than_asked_for_is_an_error() -> None:
    # Dynamo's version conversion fails on ReduceMean, and it keeps 18.
    with pytest.raises(ExportError, match="opset 18 where 17"):
        to_onnx(Squeeze(), images(), "dynamo", opset=17)


class Conv2dSame(nn.Conv2d):
    pass


SAME = nn.Sequential(Conv2dSame(3, 3, 1))


@pytest.mark.parametrize(
    ("exporter", "opset", "module", "sides", "expected", "why_not"),
    [
        ("auto", 20, nn.Identity(), True, ("dynamo", "torchscript"), None),
        ("auto", 13, nn.Identity(), False, ("torchscript",), "dynamo does not write opset 13"),
        ("auto", 21, nn.Identity(), False, ("dynamo",), None),
        ("dynamo", 18, nn.Identity(), False, ("dynamo",), None),
        ("auto", 20, SAME, False, ("dynamo", "torchscript"), None),
        ("auto", 20, SAME, True, ("torchscript", "dynamo"), "dynamo takes minutes over SAME padding of dynamic sizes"),
        ("dynamo", 20, SAME, True, ("dynamo",), None),
    ],
)
def test_candidates(exporter: str, opset: int, module: nn.Module, sides: bool, expected: tuple[str, ...], why_not: str | None) -> None:
    assert candidates(exporter, opset, module, sides) == (expected, why_not)


@pytest.mark.parametrize(("exporter", "opset"), [("auto", 12), ("dynamo", 17), ("torchscript", 21), ("auto", 99)])
def test_no_candidate_for_that_opset(exporter: str, opset: int) -> None:
    with pytest.raises(ExportError, match=f"no exporter writes opset {opset}; choose --opset within"):
        candidates(exporter, opset, nn.Identity())


def test_a_failure_is_one_line_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExportError) as caught:
        to_onnx(Branch(), images(), "dynamo", dynamic=BATCH)
    assert "data-dependent" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_torchscripts_warnings_do_not_show(capfd: pytest.CaptureFixture[str]) -> None:
    to_onnx(Branch(), images(), "torchscript", dynamic=BATCH)
    assert capfd.readouterr() == ("", "")


def test_reason_takes_the_first_cause() -> None:
    first = ValueError("\n \x1b[96mno such\t operator\x1b[0m: aten::foo\nadvice\nadvice")
    second = RuntimeError("Failed to export. See the docs")
    second.__cause__ = first
    assert reason(second) == "no such operator: aten::foo"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("long " * 100))) == 200


def test_quiet_silences_and_lets_rich_draw(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(stderr=True)
    log = logging.getLogger("torch.onnx.noise")
    with quiet():
        print("noise")
        print("noise", file=sys.stderr)
        log.error("noise")
        console.print("progress")
    log.disabled = True
    assert not logging.root.manager.disable
    print("after", file=sys.stderr)
    assert capsys.readouterr() == ("", "progress\nafter\n")

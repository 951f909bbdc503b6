"""The InferenceService against KServe's own schema."""

import pytest
import yaml

from se_deploy.deploy import kserve
from tests.deploy.schema import faults


def service(**words: object) -> dict[str, object]:
    given = {"storage": "s3://bucket/models", "tag": "25.10", "image": None, "options": [], "gpu": True, "concurrency": 32}
    made: dict[str, object] = yaml.safe_load(kserve.service("se_resnet50.v1", **{**given, **words}))
    return made


@pytest.mark.parametrize(
    "words", [{}, {"gpu": False}, {"image": "mine:1", "options": ["--backend-config=tensorrt,plugins=/mnt/models/a.so"]}]
)
def test_a_service_keeps_to_the_schema(words: dict[str, object]) -> None:
    assert faults(service(**words), "V1beta1InferenceService") == []


def test_the_schema_sees_what_is_wrong() -> None:
    made = service()
    predictor = made["spec"]["predictor"]
    predictor["minReplica"] = 1
    predictor["maxReplicas"] = "4"
    del predictor["model"]["modelFormat"]
    predictor["model"]["args"] = "--x"
    assert sorted(faults(made, "V1beta1InferenceService")) == [
        ".spec.predictor.maxReplicas is '4', not int",
        ".spec.predictor.minReplica is unknown",
        ".spec.predictor.model.args: no list",
        ".spec.predictor.model.modelFormat is missing",
    ]


def test_it_grows_by_requests_in_flight_and_asks_for_what_it_needs() -> None:
    predictor = service(concurrency=8)["spec"]["predictor"]
    assert {key: predictor[key] for key in ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget")} == {
        "minReplicas": 1, "maxReplicas": 4, "scaleMetric": "concurrency", "scaleTarget": 8,
    }  # fmt: skip
    model = predictor["model"]
    assert (model["storageUri"], model["runtimeVersion"], model["protocolVersion"]) == ("s3://bucket/models", "25.10-py3", "v2")
    assert model["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in service(gpu=False)["spec"]["predictor"]["model"]["resources"]["limits"]


@pytest.mark.parametrize(("name", "dns"), [("se_resnet50.v1", "se-resnet50-v1"), ("-X_", "x"), ("a" * 80, "a" * 53), ("___", "model")])
def test_names_are_what_kubernetes_takes(name: str, dns: str) -> None:
    assert kserve.dns(name) == dns

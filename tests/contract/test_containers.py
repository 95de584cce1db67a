"""Dockerfile, compose file and Kubernetes manifest fit the server that they run."""

import json
import re
import shlex

import pytest
import yaml

from mien.cli.main import build_app
from mien.server.settings import ServerSettings
from support.server import create_client


@pytest.fixture
def dockerfile(root):
    return (root / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")


@pytest.fixture
def services(root):
    return yaml.safe_load((root / "compose.yaml").read_text(encoding="utf-8"))["services"]


@pytest.fixture
def manifests(root):
    documents = yaml.safe_load_all((root / "examples/kubernetes.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


@pytest.fixture
def pod(manifests):
    return manifests["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def container(pod):
    return pod["containers"][0]


@pytest.fixture
def entry_point(dockerfile):
    return json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.MULTILINE)[1])


def test_copied_files_exist_and_are_not_ignored(root, dockerfile):
    copies = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
    names = {name for copy in copies for name in shlex.split(copy)[:-1]}
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert names == {line[1:] for line in lines if line.startswith("!")}
    assert all((root / name).exists() for name in names)


def test_entry_point_takes_the_flags_of_compose_and_kubernetes(entry_point, services, container):
    for arguments in ([], services["gpu"]["command"], container["args"]):
        assert entry_point[0] == "mien"
        _, bound, _ = build_app().parse_args([*entry_point[1:], *arguments], exit_on_error=False)
        settings = bound.arguments["settings"]
        assert settings.host == "0.0.0.0"
        assert settings.device == ("cuda" if arguments else "auto")


def test_every_port_is_the_one_of_the_server(dockerfile, services, container, manifests):
    port = ServerSettings().port
    assert f"EXPOSE {port}\n" in dockerfile
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    assert manifests["Service"]["spec"]["ports"][0]["targetPort"] == "http"
    for service in services.values():
        assert [mapping.rpartition(":")[2] for mapping in service["ports"]] == [str(port)]


def test_health_checks_and_probes_are_answered(tiny_model, dockerfile, services, container):
    commands = [service["healthcheck"]["test"][-1] for service in services.values()]
    commands += re.findall(r'CMD \["python", "-c", "(.*)"\]', dockerfile)
    paths = {re.search(r"127\.0\.0\.1:8000(/\w+)", command)[1] for command in commands}
    paths |= {container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"/healthz", "/readyz"}
    with create_client(model=(str(tiny_model),)) as client:
        assert {client.get(path).status_code for path in paths} == {200}


def test_shutdown_ends_within_the_grace_periods(services, pod, container):
    grace_s = ServerSettings().shutdown_grace_s
    for service in services.values():
        assert float(service["stop_grace_period"].removesuffix("s")) > grace_s
    sleep_s = float(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > sleep_s + grace_s


def test_user_of_the_pod_is_the_one_of_the_image(dockerfile, pod):
    assert f"USER {pod['securityContext']['runAsUser']}\n" in dockerfile


def test_selectors_match_the_labels_of_the_pod(manifests):
    labels = manifests["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests["Service"]["spec"]["selector"] == labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels

"""What the stack promises, read from its files; tests/stack looks at running containers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docker-compose.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
ONE_SHOTS = {"minio-volume", "prepare"}
MEBI = {"m": 1, "g": 1024}
EXACT_TAG = re.compile(r":(RELEASE\.[0-9TZ-]+|\d+(\.\d+)+(-[a-z]+)*)$")
SECRET = re.compile(r"\$\{(\w*(?:PASSWORD|SECRET|KEY|ROOT_USER)\w*)([^}]*)\}")


def mebibytes(limit: str) -> int:
    return int(limit[:-1]) * MEBI[limit[-1]]


def defaults(text: str) -> list[str]:
    """Images that are taken from elsewhere when no variable says otherwise."""
    return re.findall(r"(?:_IMAGE:-|PYTHON_IMAGE=)([^}\s\"]+)", text)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_rights_it_does_not_need(name: str) -> None:
    service = SERVICES[name]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"] is True
    assert service.get("cap_add", []) == (["CHOWN"] if name == "minio-volume" else [])
    assert "privileged" not in service
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]
    if name != "minio-volume":  # which changes an owner, without a network, and ends
        assert str(service["user"]).split(":")[0] not in ("", "0", "root")


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_bounded_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert "mem_limit" in service
    if name in ONE_SHOTS:
        assert service["restart"] == "no"
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"]


def test_everything_together_fits_eight_gigabytes() -> None:
    running = [service for name, service in SERVICES.items() if name not in ONE_SHOTS and "profiles" not in service]
    assert sum(mebibytes(service["mem_limit"]) for service in running) <= 8192


def test_ports_are_for_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 6
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_has_a_default() -> None:
    found = SECRET.findall(TEXT)
    assert len({name for name, _ in found}) >= 12
    assert {rest for _, rest in found} == {":?run make env"}


def test_images_from_elsewhere_have_an_exact_tag_and_a_variable() -> None:
    images = {*defaults(TEXT), *defaults(DOCKERFILE)} - {"nightshift:local"}
    assert len(images) == 3
    assert [image for image in images if not EXACT_TAG.search(image)] == []
    assert len(re.findall(r"^FROM (?!system|packages)(.*)$", DOCKERFILE, flags=re.MULTILINE)) == 1
    notes = (ROOT / "docs" / "stack.md").read_text()
    for image in images:
        assert re.search(re.escape(image) + r"`.*`sha256:[0-9a-f]{64}`", notes), f"docs/stack.md: the digest of {image}"


def test_the_dockerfile_asks_for_no_frontend() -> None:
    assert not re.search(r"^#\s*syntax", DOCKERFILE, flags=re.MULTILINE | re.IGNORECASE)


def test_only_services_with_our_code_know_all_secrets() -> None:
    for name in ("postgres", "minio", "spark-master"):
        told = set(SERVICES[name].get("environment", {}))
        assert not {variable for variable in told if "AIRFLOW" in variable or "MLFLOW" in variable}
    assert not {variable for variable in SERVICES["spark-worker-1"]["environment"] if "AIRFLOW" in variable}

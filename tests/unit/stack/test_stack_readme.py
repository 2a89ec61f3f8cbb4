from __future__ import annotations

import re
from pathlib import Path

from tests.fakes.readme import LANES, blocks

from nightshift.stack.variables import OPTIONS, PORTS, SECRETS

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "stack.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_what_needs_docker_is_marked_and_nothing_else() -> None:
    found = blocks(ROOT / "README.md")
    assert set(found) == set(LANES)
    docker = re.compile(r"^make (env|up|down|ps|logs|trigger|open|doctor-stack)\b", re.MULTILINE)
    assert all(docker.search(script) for script in found["stack"])
    assert not any(docker.search(script) for script in found["clone"])


def test_the_page_names_every_secret_port_and_image() -> None:
    images = [option for option in OPTIONS if option.name.endswith("_IMAGE")]
    for option in (*PORTS, *images):
        assert re.search(rf"`{option.name}` \| `?{re.escape(option.default)}`? ", DOCS), option.name
    for secret in SECRETS:
        assert f"`{secret.name}`" in DOCS, secret.name


def test_every_target_it_names_exists() -> None:
    page = DOCS + (ROOT / "README.md").read_text()
    for target in set(re.findall(r"`make ([a-z-]+)", page)):
        assert re.search(rf"^{target}:.*## ", MAKEFILE, re.MULTILINE), target

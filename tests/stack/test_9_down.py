"""``make down`` leaves only named volumes, and what was in them is there after the next ``make up``."""

from __future__ import annotations

from tests.stack.stack import PROJECT, Stack


def listed(stack: Stack, *command: str) -> list[str]:
    done = stack.run(["docker", *command, "--filter", f"label=com.docker.compose.project={PROJECT}"], timeout=60)
    return done.stdout.split()


def test_down_leaves_only_named_volumes(stack: Stack) -> None:
    told = stack.make("down")
    assert listed(stack, "ps", "--all", "--quiet") == []
    assert listed(stack, "network", "ls", "--quiet") == []
    volumes = listed(stack, "volume", "ls", "--quiet")
    assert volumes
    assert all(name.startswith(f"{PROJECT}_") for name in volumes)
    assert "volume" in told


def test_up_again_has_everything(stack: Stack) -> None:
    stack.make("up")
    assert stack.manifests("flight_delays", "preprocess", "2013-07-14")
    assert stack.call("GET", "/dags/flight_delays__retraining/dagRuns")["total_entries"] >= 1

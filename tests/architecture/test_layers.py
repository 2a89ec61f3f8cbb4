"""The house rules that a machine can check."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from nightshift.plan import CODE_OF_SPARK, CODE_OF_STAGE

ROOT = Path(__file__).parent.parent.parent
PRODUCT = sorted(path for top in ("dags", "plugins", "include") for path in (ROOT / top).rglob("*.py"))


def test_imports_point_one_way() -> None:
    found = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("nightshift", cache_dir=None)


@pytest.mark.parametrize("stage", CODE_OF_STAGE)
def test_stage_key_covers_the_code_a_stage_runs(stage: str, graph: grimp.ImportGraph) -> None:
    reached = {f"nightshift.{stage}"} | graph.find_descendants(f"nightshift.{stage}")
    for module in list(reached):
        reached |= graph.find_upstream_modules(module)
    needed = {module.split(".")[1] for module in reached if "." in module} - {"stage"}
    besides = CODE_OF_SPARK if stage == "train" else ()  # in the key where Spark trains
    declared = {part.removesuffix(".py").split("/")[0] for part in (*CODE_OF_STAGE[stage], *besides)}
    assert needed <= declared, f"CODE_OF_STAGE[{stage!r}] lacks {sorted(needed - declared)}"


def test_dag_files_show_only_the_shape() -> None:
    for path in (ROOT / "dags").glob("*.py"):
        assert len(path.read_text().splitlines()) <= 40, path


def test_no_rooms_without_a_name() -> None:
    for path in PRODUCT:
        assert not re.search(
            r"(^|/)(utils?|helpers?|common|misc|managers?)(\.py$|/)", path.relative_to(ROOT).as_posix()
        )


def test_modules_and_functions_stay_small() -> None:
    for path in PRODUCT:
        source = path.read_text()
        assert source.count("\n") <= 420, f"{path} has {source.count(chr(10))} lines"
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{path}:{node.lineno} {node.name} has {length} lines"


UNSAFE_LOADS = re.compile(
    r"(^|\.)((pickle|cloudpickle|dill|marshal|joblib|torch|skops\.io)\.loads?|read_pickle|yaml\.load|pyfunc\.load_model"
    r"|shelve\.open)$|^(eval|exec)$"
)


def test_no_shell_and_no_unsafe_loading() -> None:
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                assert not any(word.arg == "shell" and getattr(word.value, "value", None) for word in node.keywords), (
                    f"{path}:{node.lineno} uses a shell"
                )
                name = ast.unparse(node.func)
                safe = name == "torch.load" and any(
                    word.arg == "weights_only" and getattr(word.value, "value", None) is True for word in node.keywords
                )
                assert safe or not UNSAFE_LOADS.search(name), f"{path}:{node.lineno} calls {name}"
                assert not any(word.arg == "allow_pickle" for word in node.keywords), f"{path}:{node.lineno}"


def test_airflow_executes_only_the_plugin_file() -> None:
    files = {path.relative_to(ROOT / "plugins").as_posix() for path in (ROOT / "plugins").glob("*.py")}
    assert files == {"nightshift_plugin.py"}
    assert "nightshift_airflow/" in (ROOT / "plugins" / ".airflowignore").read_text().split()


def test_tasks_do_not_touch_the_orm() -> None:
    for path in PRODUCT:
        if "/ui/" in path.as_posix():
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            for module in modules:
                assert not re.match(r"airflow\.(models|settings|utils\.(session|db))", module), (
                    f"{path}:{node.lineno} {module}"
                )

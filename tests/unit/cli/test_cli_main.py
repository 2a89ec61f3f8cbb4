from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import click
import pytest
from tests.unit.cli.conftest import Call

from nightshift.cli.main import COMMANDS, GROUPS, nightshift
from nightshift.errors import SpecError

HEAVY = (
    "pandas",
    "numpy",
    "pyarrow",
    "pyspark",
    "mlflow",
    "great_expectations",
    "onnxruntime",
    "airflow",
    "xgboost",
    "pydantic",
)


def test_help_lists_every_command_with_its_line(call: Call) -> None:
    called = call("--help")
    assert called.code == 0
    for title, group in GROUPS.items():
        assert title in called.out
        for name, entry in group.items():
            assert name in called.out
            assert entry.line in " ".join(called.out.split())


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from nightshift.cli.main import nightshift\n"
        "nightshift.main(['--help'], standalone_mode=False)\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_says_more_than_its_line(call: Call, name: str) -> None:
    called = call(name, "--help")
    assert called.code == 0
    assert called.out.startswith(f"Usage: nightshift {name}")
    command = nightshift.get_command(click.Context(nightshift), name)
    assert command is not None
    assert all(getattr(option, "help", "") for option in command.params if isinstance(option, click.Option))


def test_version(call: Call) -> None:
    assert importlib.metadata.version("nightshift-mlops") in call("--version").out


def test_an_unknown_command_gets_a_suggestion(call: Call) -> None:
    called = call("histroy")
    assert called.code == 2
    assert "There is no command 'histroy'. Did you mean history?" in called.err


class TestErrors:
    def test_message_and_hint_in_standard_error_and_the_exit_code(self, call: Call) -> None:
        called = call("history", "flight_delay")
        assert called.code == SpecError.exit_code
        assert called.out == ""
        assert "Error: there is no model 'flight_delay'" in called.err
        assert "Hint: did you mean flight_delays?" in called.err
        assert "Traceback" not in called.err

    def test_text_of_an_error_is_never_taken_for_markup(self, call: Call) -> None:
        assert "[bold]x" in call("history", "[bold]x").err

    def test_debug_shows_the_traceback(self, call: Call) -> None:
        with pytest.raises(SpecError):
            call("--debug", "history", "flight_delay")

    def test_a_bad_setting(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NIGHTSHIFT_ENV", "Prod!")
        called = call("status")
        assert called.code == 78
        assert "NIGHTSHIFT_ENV is 'Prod!'" in called.err

    def test_a_wrong_option_is_a_usage_error(self, call: Call) -> None:
        called = call("run", "flight_delays")
        assert called.code == 2
        assert "--night" in called.err

    def test_ctrl_c(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("nightshift.cli.models.store_of", interrupted)
        monkeypatch.setattr("nightshift.cli.history.store_of", interrupted)
        called = call("history", "flight_delays")
        assert (called.code, called.err.strip()) == (130, "Interrupted.")

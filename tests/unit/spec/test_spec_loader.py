"""Reading specs from disk: what is refused before it is YAML, folders, the prepare file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nightshift.errors import SpecError
from nightshift.spec.loader import load_spec, load_specs
from nightshift.spec.models import ModelSpec

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "dags" / "models" / "flight_delays.yaml"

Load = Callable[..., ModelSpec]


def test_a_good_spec_carries_the_text_of_its_sql(orders: Path) -> None:
    spec = load_spec(orders)
    assert spec.model == "orders"
    assert spec.prepare_sql == (orders.parent / "orders.sql").read_text()
    assert spec.features.numeric == ("price", "distance")


def test_the_demo_loads() -> None:
    loaded = load_specs(DEMO.parent)
    assert loaded.errors == ()
    assert "flight_delays" in [spec.model for spec in loaded.specs]


def test_a_spec_is_equal_however_it_was_loaded(orders: Path) -> None:
    assert load_spec(orders) == load_spec(orders, check_sql=False)
    assert load_spec(orders) == ModelSpec.model_validate(load_spec(orders).model_dump(mode="json"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "orders.yaml:1: the file is empty."),
        (b"# only a comment\n\n", "orders.yaml:1: the file is empty."),
        (b"---\n...\n", "orders.yaml:1: the file is empty."),
        (b"~\n", "orders.yaml:1: the file is empty."),
        (b"- a\n- b\n", "orders.yaml:1: the file is a list."),
        (b"# hello\njust text\n", "orders.yaml:2: the file is the text 'just text'."),
        (b"model: orders\nowner: J\xe9r\xf4me\n", "orders.yaml:2:9: the byte 0xe9 is not UTF-8."),
        ("model: orders\n".encode("utf-16"), "orders.yaml:1:1: the byte 0xff is not UTF-8."),
        (b"model: orders\nowner: a\x00b\n", "orders.yaml:2:9: the control character U+0000 is not allowed."),
        (b"model: " + b"x" * (1 << 20), "orders.yaml:1: the file is larger than 1 MiB."),
    ],
)
def test_what_cannot_be_a_spec_is_refused(orders: Path, data: bytes, said: str) -> None:
    orders.write_bytes(data)
    with pytest.raises(SpecError) as raised:
        load_spec(orders)
    assert raised.value.message.splitlines()[0] == said


def test_a_byte_order_mark_is_no_problem(orders: Path) -> None:
    orders.write_bytes(b"\xef\xbb\xbf" + orders.read_bytes())
    assert load_spec(orders).model == "orders"


def test_windows_line_ends_are_no_problem(orders: Path) -> None:
    orders.write_bytes(orders.read_bytes().replace(b"\n", b"\r\n"))
    assert load_spec(orders).model == "orders"


def test_a_file_that_cannot_be_read_says_why(orders: Path) -> None:
    orders.unlink()
    with pytest.raises(SpecError, match=r"^orders\.yaml:1: the file cannot be read: No such file"):
        load_spec(orders)
    orders.mkdir()
    with pytest.raises(SpecError, match=r"^orders\.yaml:1: the file cannot be read: Is a directory"):
        load_spec(orders)


def test_one_broken_file_never_hides_the_others(orders: Path) -> None:
    folder = orders.parent
    (folder / "broken.yaml").write_text("model: [")
    (folder / "copy.yaml").write_text(orders.read_text())
    (folder / "returns.yaml").write_text(orders.read_text().replace("model: orders", "model: returns"))
    (folder / "folder.yaml").mkdir()
    (folder / "old.yml").write_text(orders.read_text())
    (folder / ".hidden.yaml").write_text("model: [")
    (folder / "notes.txt").write_text("model: [")
    loaded = load_specs(folder)
    assert [spec.model for spec in loaded.specs] == ["orders", "returns"]
    first_lines = [str(error).splitlines()[0] for error in loaded.errors]
    assert first_lines == [
        "broken.yaml:1:9: a value is missing here.",
        "copy.yaml:2: model: 'orders' is not the name of the file.",
        "folder.yaml:1: the file cannot be read: Is a directory.",
        "old.yml: a model spec ends in .yaml.",
    ]
    assert "orders.yaml is that model" in str(loaded.errors[1])


def test_a_folder_that_is_not_there_is_an_error_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_specs(tmp_path / "dags" / "models")
    assert [error.message for error in loaded.errors] == ["there is no folder dags/models."]
    assert "NIGHTSHIFT_MODELS" in (loaded.errors[0].hint or "")


def test_files_outside_the_current_folder_are_named_in_full(orders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders.write_text("")
    monkeypatch.chdir("/")
    expected = str(orders).removeprefix("/")
    with pytest.raises(SpecError, match=f"^{expected}:1"):
        load_spec(orders)
    monkeypatch.chdir(orders.parent.parent)
    with pytest.raises(SpecError, match=f"^{orders.parent.name}/orders.yaml:1"):
        load_spec(orders)
    (orders.parent / "elsewhere").mkdir()
    monkeypatch.chdir(orders.parent / "elsewhere")
    with pytest.raises(SpecError, match=f"^{orders}:1"):
        load_spec(orders)


def test_the_sql_cannot_be_written_in_the_yaml(load: Load) -> None:
    with pytest.raises(SpecError, match=r"orders\.yaml:9: prepare_sql: the SQL cannot be written here\."):
        load(("prepare: orders.sql", "prepare_sql: SELECT 1\nprepare: orders.sql"))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "orders.sql:1: there is no SQL in the file."),
        (b"SELECT '\xff' FROM source", "orders.sql:1:9: the byte 0xff is not UTF-8."),
        (b"x" * ((1 << 20) + 1), "orders.sql:1: the file is larger than 1 MiB."),
    ],
)
def test_sql_that_is_no_text_is_refused(orders: Path, data: bytes, said: str) -> None:
    (orders.parent / "orders.sql").write_bytes(data)
    with pytest.raises(SpecError) as raised:
        load_spec(orders)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    "name", ["../orders.sql", "/etc/passwd", "sub/orders.sql", "orders.sql\n", ".sql", "orders.txt"]
)
def test_the_prepare_file_lies_beside_the_spec(load: Load, name: str) -> None:
    with pytest.raises(SpecError, match=r"prepare: .* is not allowed"):
        load(("prepare: orders.sql", f"prepare: {name!r}".replace("\\n", "\n\n")))


def test_sql_is_not_looked_at_when_the_spec_says_nothing_reliable_about_it(load: Load) -> None:
    with pytest.raises(SpecError) as raised:
        load(("tables:\n", "tabels:\n"))
    assert "sql" not in str(raised.value)


def test_reading_specs_imports_nothing_heavy() -> None:
    code = f"""
import sys
from pathlib import Path
from nightshift.spec.loader import load_specs
assert not load_specs(Path({str(DEMO.parent)!r}), check_sql=False).errors
heavy = {{"pandas", "numpy", "pyarrow", "pyspark", "mlflow", "airflow", "sqlglot", "great_expectations"}}
print(sorted(heavy & set(sys.modules)))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

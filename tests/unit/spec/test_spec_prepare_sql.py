"""What the prepare SQL may say. The spec: source, shops; label late; forbidden delivered_at."""

from __future__ import annotations

import pytest

from nightshift.spec.models import ModelSpec
from nightshift.spec.prepare_sql import check_prepare
from nightshift.spec.problem import path_text

SPEC = ModelSpec.model_validate(
    {
        "version": 1,
        "model": "orders",
        "owner": "me",
        "source": {"kind": "files", "uri": "x.csv", "time": "ordered_at"},
        "key": ["order_id"],
        "tables": {"shops": {"kind": "files", "uri": "shops.csv"}},
        "prepare": "orders.sql",
        "label": {"column": "late", "positive": "== yes"},
        "features": {"numeric": ["price"], "categorical": ["country"], "forbidden": ["delivered_at", "late"]},
        "window": {"train": "30d", "holdout": "14d"},
        "training": {"engine": "xgboost"},
        "gates": {"minimum": 0.5, "slices": ["country"], "fairness": {"attribute": "country"}},
    }
)
OUTPUTS = "order_id, ordered_at, late, price, country"


def problems(sql: str) -> list[str]:
    return [
        f"{problem.line}: {problem.message}" if problem.in_sql else f"{path_text(problem.at)}: {problem.message}"
        for problem in check_prepare(sql, SPEC)
    ]


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT {OUTPUTS} FROM source",
        f"SELECT {OUTPUTS} FROM source;\n-- done\n",
        f"select {OUTPUTS} from SOURCE",
        f"SELECT {OUTPUTS} FROM source AS s LEFT JOIN shops AS x ON x.shop = s.shop WHERE s.price > 0",
        f"SELECT /*+ BROADCAST(x) */ {OUTPUTS} FROM source AS s JOIN shops AS x USING (shop)",
        f"WITH dear AS (SELECT {OUTPUTS} FROM source WHERE price > 9) SELECT * FROM dear",
        f"WITH a AS (SELECT {OUTPUTS} FROM source), b AS (SELECT * FROM a UNION ALL SELECT * FROM a) SELECT {OUTPUTS} FROM b",
        f"SELECT {OUTPUTS} FROM (SELECT * FROM source) AS q",
        "SELECT * EXCEPT (delivered_at) FROM source",
        "WITH a AS (SELECT * EXCEPT (Delivered_At) FROM source) SELECT * FROM a",
        f"SELECT {OUTPUTS}, x.delivered_at AS shop_since FROM source s JOIN shops x ON x.shop = s.shop",
        f"SELECT {OUTPUTS}, (SELECT max(size) FROM shops) AS largest FROM source",
        f"SELECT {OUTPUTS}, c.code FROM source JOIN (VALUES ('de', 1), ('fr', 2)) AS c(name, code) ON c.name = country",
        f"SELECT {OUTPUTS}, count(*) OVER (PARTITION BY shop) AS orders_of_shop FROM source",
        f"SELECT {OUTPUTS}, item FROM source LATERAL VIEW explode(items) t AS item",
        "SELECT order_id, ordered_at, s.late AS late, price, country FROM source AS s",
        f"SELECT {OUTPUTS}, trim(BOTH ',' FROM name) AS name FROM source",
        f"SELECT {OUTPUTS}, '-- no comment; DROP TABLE x' AS text FROM source",
        f"FROM source SELECT {OUTPUTS}",
    ],
)
def test_good_sql(sql: str) -> None:
    assert problems(sql) == []


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "1: there is no SQL in the file."),
        ("-- nothing yet\n", "1: there is no SQL in the file."),
        ("SELECT 1 AS x FROM source;\nSELECT 2", "2: a second statement begins here."),
        ("SELECT order_id FROM source UNION SELECT order_id FROM source", "1: the statement is UNION."),
        ("-- clean\nDROP TABLE source", "2: the statement begins with DROP."),
        ("INSERT INTO shops SELECT * FROM source", "1: the statement begins with INSERT."),
        ("CREATE TABLE x AS SELECT * FROM source", "1: the statement begins with CREATE."),
        ("WITH a AS (SELECT 1 AS x) INSERT INTO shops SELECT * FROM a", "1: the statement is INSERT."),
        ("SET spark.sql.ansi.enabled=false", "1: the statement begins with SET."),
        ("ADD JAR 'x.jar'", "1: the statement begins with ADD."),
        ("EXECUTE IMMEDIATE 'SELECT 1'", "1: the statement begins with EXECUTE."),
        ("TABLE source", "1: the statement begins with TABLE."),
        ("SELECT order_id\nFROM source\nWHERE", "3: this is not Spark SQL: it cannot be read at 'WHERE'."),
        ("SELECT order_id,\nFROM source", "1: there is a comma too many before FROM."),
        ("SELECT order_id\nFROM source\nWHERE country = 'de", "3: the ' that opens here is never closed."),
        ("SELECT order_id\n/* FROM source", "2: the /* that opens here is never closed."),
        ("SELECT " + "(" * 5000 + "1" + ")" * 5000 + " AS x FROM source", "1: the query is nested too deep."),
    ],
)
def test_exactly_one_select(sql: str, said: str) -> None:
    assert problems(sql) == [said]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("FROM shop", "2: there is no table shop."),
        ("FROM source JOIN weather ON true", "2: there is no table weather."),
        ("FROM source WHERE shop IN (SELECT shop FROM weather)", "2: there is no table weather."),
        ("FROM parquet.`/etc/passwd`", "2: parquet.`/etc/passwd` is not a table of the spec."),
        ("FROM other.source", "2: other.source is not a table of the spec."),
        ("FROM catalog.db.source", "2: catalog.db.source is not a table of the spec."),
        ("FROM 's3://bucket/x'", "2: `s3://bucket/x` is not a table of the spec."),
        ("FROM read_files('/etc')", "2: READ_FILES('/etc') is a function, where a table belongs."),
        ("FROM range(10)", "2: RANGE(10) is a function, where a table belongs."),
        ("FROM IDENTIFIER('par' || 'quet')", "2: IDENTIFIER('par' || 'quet') is a function, where a table belongs."),
        ("FROM shops", "1: nothing is read from source."),
        ("FROM source NATURAL JOIN shops", "2: NATURAL JOIN joins on every name that the tables happen to share."),
        ("FROM source TABLESAMPLE (10 PERCENT)", "2: TABLESAMPLE takes other rows every time."),
        ("FROM source ORDER BY price LIMIT 10", "2: LIMIT keeps whichever rows come first."),
        (
            "FROM source WHERE delivered_at IS NOT NULL",
            "2: delivered_at is forbidden (features.forbidden) and cannot be used here.",
        ),
        (
            "FROM source AS s JOIN shops AS x ON x.day = s.delivered_at",
            "2: delivered_at is forbidden (features.forbidden) and cannot be used here.",
        ),
        (
            "FROM source JOIN shops USING (delivered_at)",
            "2: delivered_at is forbidden (features.forbidden) and cannot be used here.",
        ),
        ("FROM source WHERE late IS NOT NULL", "2: late is the label and cannot be used here."),
        ("FROM source ORDER BY late", "2: late is the label and cannot be used here."),
        (
            "FROM source AS s(order_id, ordered_at, late, price, country)",
            "2: a list of names after an alias hides which column is which.",
        ),
    ],
)
def test_what_it_reads(what: str, said: str) -> None:
    assert said in problems(f"SELECT {OUTPUTS}\n{what}")


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("reflect('java.lang.Runtime', 'exec') AS x", "reflect() reaches outside the query."),
        ("REFLECT('a', 'b') AS x", "reflect() reaches outside the query."),
        ("java_method('a', 'b') AS x", "java_method() reaches outside the query."),
        ("try_reflect('a', 'b') AS x", "try_reflect() reaches outside the query."),
        ("input_file_name() AS x", "input_file_name() reaches outside the query."),
        ("input_file_block_start() AS x", "input_file_block_start() reaches outside the query."),
        ("upper(lower(java_method('a', 'b'))) AS x", "java_method() reaches outside the query."),
        ("TRANSFORM(price) USING 'cat' AS (x)", "TRANSFORM … USING runs a program."),
        ("rand() AS x", "rand() gives something else every time; the same night must give the same model."),
        ("uuid() AS x", "uuid() gives something else every time; the same night must give the same model."),
        (
            "current_date AS x",
            "current_date() gives something else every time; the same night must give the same model.",
        ),
        (
            "datediff(now(), ordered_at) AS x",
            "now() gives something else every time; the same night must give the same model.",
        ),
        (":day AS x", "nothing fills in the parameter :day."),
        ("'${env:AWS_SECRET_ACCESS_KEY}' AS x", "Spark would fill in ${…} from its environment."),
        ("price * 2", "this column has no name."),
        ("price", "two columns of the result are called price."),
        ("Price", "two columns of the result are called Price."),
        ("delivered_at", "delivered_at is forbidden (features.forbidden) and cannot be used here."),
        ("`delivered_at` AS x", "delivered_at is forbidden (features.forbidden) and cannot be used here."),
        ("DELIVERED_AT AS x", "DELIVERED_AT is forbidden (features.forbidden) and cannot be used here."),
        (
            "transform(items, i -> i + delivered_at) AS x",
            "delivered_at is forbidden (features.forbidden) and cannot be used here.",
        ),
        ("CASE WHEN late = 'yes' THEN 1 END AS x", "late is the label and cannot be used here."),
        ("late AS x", "late is the label and cannot be used here."),
        ("(SELECT late FROM source) AS x", "late is the label and cannot be used here."),
        ("avg(price) OVER (ORDER BY late) AS x", "late is the label and cannot be used here."),
        (
            "price > 3 AS delivered_at",
            "something else is given the name delivered_at, which is forbidden (features.forbidden).",
        ),
        ("to_json(struct(*)) AS x", "* inside a function takes in every column, the label too."),
    ],
)
def test_what_it_gives(column: str, said: str) -> None:
    assert f"2: {said}" in problems(f"SELECT {OUTPUTS},\n{column}\nFROM source")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM source",
        "SELECT s.* FROM source AS s",
        "SELECT * EXCEPT (price) FROM source",
        "SELECT q.* FROM (SELECT * FROM source) AS q",
        "WITH a AS (SELECT * FROM source), b AS (SELECT * FROM a) SELECT * FROM b",
        "WITH a AS (SELECT * FROM shops JOIN source USING (shop)) SELECT * FROM a",
        "WITH RECURSIVE a AS (SELECT * FROM source UNION ALL SELECT * FROM a) SELECT * FROM a",
    ],
)
def test_a_star_brings_forbidden_columns_in(sql: str) -> None:
    assert problems(sql) == ["1: * brings in delivered_at, forbidden by features.forbidden."]


@pytest.mark.parametrize(
    "sql",
    [
        f"WITH a(id, day, x, price, country) AS (SELECT {OUTPUTS} FROM source) SELECT x + 1 AS y FROM a",
        "WITH a AS (SELECT price FROM source UNION ALL SELECT late FROM source) SELECT price FROM a",
        "WITH a AS (SELECT late AS x FROM source) SELECT x FROM a",
    ],
)
def test_the_label_cannot_be_renamed_on_the_way(sql: str) -> None:
    assert any("late is the label" in problem or "hides which column" in problem for problem in problems(sql))


def test_names_of_with_do_not_shadow_tables() -> None:
    sql = f"WITH source AS (SELECT {OUTPUTS} FROM source) SELECT {OUTPUTS} FROM source"
    assert problems(sql) == ["1: WITH gives the name source, which a table of the spec has."]


def test_the_result_has_what_the_stages_take() -> None:
    found = check_prepare("SELECT ORDER_ID, orderedat, prize AS prise FROM source", SPEC)
    assert [f"{path_text(problem.at)}: {problem.message} {problem.hint}" for problem in found] == [
        "source.time: ordered_at is not a column of the result of orders.sql. did you mean orderedat?",
        "label.column: late is not a column of the result of orders.sql. add it to the SELECT in orders.sql",
        "gates.fairness.attribute: country is not a column of the result of orders.sql. add it to the SELECT in orders.sql",
        "key[0]: order_id is not a column of the result of orders.sql. did you mean ORDER_ID?",
        "features.numeric[0]: price is not a column of the result of orders.sql. did you mean prise?",
        "features.categorical[0]: country is not a column of the result of orders.sql. add it to the SELECT in orders.sql",
        "gates.slices[0]: country is not a column of the result of orders.sql. add it to the SELECT in orders.sql",
    ]

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.fakes.published_night import PublishedNight, demo_spec, plan_of

from nightshift.errors import StorageError, ValidationFailed
from nightshift.report import render_run
from nightshift.report.evidence import Evidence
from nightshift.report.facts import facts
from nightshift.report.nights import nights
from nightshift.report.page import html

VOID = {"meta", "br"}
ATTACK = """<script>alert("1")</script><img src=x onerror='alert(2)'>"""


class Page(HTMLParser):
    """What a browser would see: tags, text, and whether everything is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    @property
    def words(self) -> str:
        return " ".join(self.text.split())


def rendered(night: PublishedNight, **more: Exception) -> str:
    path = render_run(night.plan, night.store, {**night.results, **more})  # type: ignore[dict-item]
    assert isinstance(path, Path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def page(published: tuple[Path, list[PublishedNight]]) -> str:
    """The page of the successor's night."""
    night = published[1][1]
    return html(Evidence.collect(night.plan, night.store, night.results))


class TestContent:
    def test_the_sentence_comes_first(self, page: str) -> None:
        assert (
            "<h1>Night 2013-06-27: model v2 replaced v1: AUC 0.9214 against 0.9180 on 12,345 held-out rows.</h1>"
            in page
        )

    def test_the_numbers_that_people_look_for(self, page: str) -> None:
        words = Page(page).words
        for expected in (
            "Promoted",
            "+0.0034",
            "champion v1 0.9180",
            "dep_delay alone 0.9093",
            "✓ passed",
            "71,520",
            "2,310",
            "12,345",
            "Too few rows to judge: HA (14).",
            "68.0 %",
            "threshold 0.31",
            "2013-05-24: 21 rows have a dep_delay above 1500",
            "largest difference to the trained model 3.2e-07",
            "nightshift predict flight_delays --example",
            "analytics@example.com",
        ):
            assert expected in words, expected

    def test_the_gain_has_its_interval_and_the_expected_nights(self, page: str) -> None:
        words = Page(page).words
        for expected in (
            "Verdict: not worse",
            "95 % interval −0.0011 to +0.0079; may lose 0.005 at most",
            "What it gains over champion v1",
            "ROC AUC +0.0034 −0.0011 to +0.0079 0.005 not worse",
            "Calibration error −0.0031 −0.0076 to +0.0014 0.02 not worse",
            "21.4 of 30 nights would promote a model that is exactly as good as the champion.",
            "In the 30 nights up to this one: 2 promoted, 0 refused.",
        ):
            assert expected in words, expected

    def test_the_last_nights_are_counted_up_to_this_one(self, nights_: list[PublishedNight]) -> None:
        assert "In the 30 nights up to this one: 2 promoted, 1 refused." in Page(rendered(nights_[2])).words

    def test_warnings_and_waivers_are_shown(self) -> None:
        from tests.fakes import published_night

        from nightshift.report.evaluation import Evaluation

        raw = published_night.evaluation(0.97, 0.9, 1) | {
            "warnings": ["ROC AUC rose by 0.0700 in one step: suspicious."],
            "waived_by": {
                "entry": 4,
                "by": "ada",
                "reason": "the label changed",
                "expires": "2013-07-01",
                "checks": ["floor", "champion"],
            },
            "verdict": "undecided",
            "refresh": True,
        }
        found = Evaluation.read(raw)
        waived = "ada (ledger entry 4, up to 2013-07-01, for floor, champion): the label changed"
        assert (found.warnings, found.waived_by) == (tuple(raw["warnings"]), waived)
        assert found.verdict == "undecided, a refresh"

    def test_what_it_looks_at_says_of_which_rows_and_how(self, published: tuple[Path, list[PublishedNight]]) -> None:
        night = published[1][1]
        evidence = Evidence.collect(night.plan, night.store, night.results)
        told = {
            "method": "tree_shap", "unit": "log-odds", "rows": 500, "background_rows": 100, "seed": 0,
            "columns": [
                {"column": f"c{place:02d}", "value": 2.0 / (place + 1), "share": 0.5 / (place + 1)} for place in range(17)
            ],
            "slices": [
                {"column": "carrier", "value": "UA", "rows": 50, "columns": [{"column": "dest", "value": 1.0, "share": 0.61}]}
            ],
        }  # fmt: skip
        words = Page(html(replace(evidence, evaluation={**evidence.evaluation, "explanation": told}))).words
        for expected in (
            "How far each column moves the score, in log-odds: the mean size of the SHAP values of 500 held-out rows, "
            "compared with 100 rows of the training window. The 15 largest of 17 columns.",
            "c00 2.0000 50.0 %",
            "What it looks at, by carrier",
            "UA 50 dest 61.0 %",
        ):
            assert expected in words, expected
        permuted = {**told, "method": "permutation", "unit": "roc_auc", "repeats": 3}
        words = Page(html(replace(evidence, evaluation={**evidence.evaluation, "explanation": permuted}))).words
        assert "What AUC loses when a column's values are dealt out anew among 500 held-out rows" in words

    def test_all_stages_with_their_versions(self, page: str) -> None:
        for stage in ("ingest", "validate", "preprocess", "train", "evaluate", "register", "deploy"):
            assert f"{stage}/2013-06-26@1" in page

    def test_a_refusal_shows_the_failed_check(self, nights_: list[PublishedNight]) -> None:
        words = Page(rendered(nights_[2])).words
        assert "Refused" in words
        assert "✗ failed" in words
        assert "at most 0.0050 below is allowed" in words
        assert "nothing to deploy: evaluate refused" in words

    def test_the_first_champion_has_nobody_beside_it(self, nights_: list[PublishedNight]) -> None:
        words = Page(rendered(nights_[0])).words
        assert "model v1 is the first champion" in words
        assert "Above the floor" in words
        assert "Against the champion" not in words

    def test_a_champion_that_cannot_be_compared(self, root: Path) -> None:
        from tests.fakes import published_night

        evidence = published_night.evaluation(0.92, None, None)
        evidence["champion"] = {"version": 7, "digest": "d", "obstacle": "no rows lie after 2013-06-20"}
        from nightshift.report.evaluation import Evaluation

        read = Evaluation.read(evidence)
        assert (read.champion_version, read.champion, read.obstacle) == (7, None, "no rows lie after 2013-06-20")


class TestFailedNight:
    @pytest.fixture
    def night(self, early: PublishedNight) -> PublishedNight:
        return early

    def test_what_where_and_what_to_do(self, night: PublishedNight) -> None:
        error = ValidationFailed("214 of 971 rows fail\n  first: row 17", hint="look at valid/2013-06-25")
        words = Page(rendered(night, validate=error)).words
        assert "Night 2013-06-26: validate failed; there is no champion yet." in words
        assert "What went wrong in validate 214 of 971 rows fail first: row 17" in words
        assert "What to do: look at valid/2013-06-25" in words
        assert "another try would end the same way" in words
        assert "nightshift run flight_delays --night 2013-06-26" in words

    def test_data_that_is_there_is_shown(self, night: PublishedNight) -> None:
        page = rendered(night, validate=ValidationFailed("x"))
        assert "Rows by day" in page
        assert "10 days, as far as the run got." in page

    def test_an_error_that_passes_is_called_so(self, night: PublishedNight) -> None:
        words = Page(rendered(night, validate=StorageError("the store is away"))).words
        assert "Airflow tries it again by itself" in words

    def test_a_first_night_that_read_nothing(self, root: Path) -> None:
        plan = plan_of(root, date(2013, 6, 26))
        from nightshift.storage import Store

        path = render_run(plan, Store.of(plan), {"ingest": ValidationFailed("no file")})
        assert "ingest failed" in Path(path).read_text()

    def test_a_damaged_ledger_does_not_hide_the_failure(self, night: PublishedNight) -> None:
        night.store.objects.write("ledger/000000001.json", b"{")
        assert "there is no champion yet" in rendered(night, validate=ValidationFailed("x"))


class TestSafety:
    def test_nothing_that_is_shown_becomes_markup(self, root: Path) -> None:
        spec = demo_spec(owner=f"{ATTACK}@example.com", description=ATTACK)
        changes = {
            "validate": {"warnings": [ATTACK]},
            "deploy": {"status": "skipped", "reason": ATTACK},
            "register": {"mlflow_run_id": None},
        }
        night = PublishedNight(plan_of(root, date(2013, 6, 26), spec=spec), changes=changes, days=3)
        night.publish()
        page = Page(rendered(night))
        assert {"script", "img"}.isdisjoint(page.tags)
        assert ATTACK in page.text
        assert not any(name.startswith("on") for name, _ in page.attributes)

    def test_an_error_message_is_text(self, early: PublishedNight) -> None:
        page = Page(rendered(early, validate=ValidationFailed(ATTACK, hint=ATTACK)))
        assert page.text.count(ATTACK) == 3
        assert "script" not in page.tags
        assert "img" not in page.tags

    def test_values_of_the_data_are_text(self, root: Path) -> None:
        from tests.fakes.published_night import evaluation

        from nightshift.report.evaluation import Evaluation
        from nightshift.report.page import _slices

        evidence = evaluation(0.92, None, None)
        evidence["slices"][0]["value"] = ATTACK
        (card,) = _slices(Evaluation.read(evidence))
        assert (card.column, card.lines[0][0].value) == ("carrier", ATTACK)

    def test_no_script_no_style_attribute_nothing_from_elsewhere(self, page: str) -> None:
        seen = Page(page)
        assert "script" not in seen.tags
        assert {"link", "img", "iframe", "object", "embed", "form"}.isdisjoint(seen.tags)
        assert not any(
            name in ("style", "src", "href", "xlink:href") or name.startswith("on") for name, _ in seen.attributes
        )
        assert not re.search(r"https?:|//[a-z]|url\(|@import", page)

    def test_the_policy_allows_its_own_style_and_nothing_else(self, page: str) -> None:
        style = re.search(r"<style>(.*?)</style>", page, flags=re.DOTALL)
        assert style is not None
        digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
        assert f"default-src 'none'; style-src 'sha256-{digest}'" in page


class TestForm:
    def test_everything_is_closed(self, page: str) -> None:
        assert Page(page).open == []

    def test_it_is_small(self, page: str) -> None:
        assert len(page.encode()) < 200_000

    def test_light_dark_and_paper(self, page: str) -> None:
        assert "@media screen and (prefers-color-scheme: dark)" in page
        assert "@media print" in page
        light = dict(re.findall(r"(--[a-z-]+): ([^;]+);", page.split("prefers-color-scheme", maxsplit=1)[0]))
        dark = dict(
            re.findall(r"(--[a-z-]+): ([^;]+);", page.split("prefers-color-scheme")[1].split("* {", maxsplit=1)[0])
        )
        assert light.keys() == dark.keys()
        assert all(light[name] != dark[name] for name in light)

    def test_every_colour_is_a_variable(self, page: str) -> None:
        rules = page.split("* { box-sizing")[1].split("@media print", maxsplit=1)[0]
        assert not re.search(r"#[0-9a-f]{3,8}\b", rules)
        assert set(re.findall(r"var\((--[a-z-]+)\)", page)) <= set(re.findall(r"(--[a-z-]+):", page))

    def test_drawings_have_names(self, page: str) -> None:
        for drawing in re.findall(r'<svg class="(?:plot|days)"[^>]*>', page):
            assert 'role="img"' in drawing
            assert "aria-label=" in drawing

    def test_no_number_leaks_its_float(self, page: str) -> None:
        assert not re.search(r"\d\.\d{7,}", page.split("</style>")[1])


class TestPublishing:
    def test_the_same_run_gives_the_same_bytes_and_one_version(self, nights_: list[PublishedNight]) -> None:
        night = nights_[1]
        assert rendered(night) == rendered(night)
        assert night.store.versions("report", "2013-06-26") == [1]

    def test_another_outcome_is_another_version(self, nights_: list[PublishedNight]) -> None:
        night = nights_[1]
        rendered(night)
        rendered(night, deploy=StorageError("away"))
        assert night.store.versions("report", "2013-06-26") == [1, 2]
        manifest = night.store.latest("report", "2013-06-26")
        assert manifest is not None
        assert manifest.result["kind"] == "failed"
        assert manifest.inputs["evaluate"] == night.results["evaluate"].ref
        assert [one.verdict for one in nights(night.store)][1] == "failed"

    def test_the_copy_lies_where_people_look(self, nights_: list[PublishedNight], root: Path) -> None:
        rendered(nights_[1])
        manifest = nights_[1].store.latest("report", "2013-06-26")
        assert manifest is not None
        copy = root / "home" / "reports" / "flight_delays" / "2013-06-27.html"
        assert copy.read_bytes() == nights_[1].store.read(manifest, "report.html")


class TestMlflow:
    @pytest.fixture
    def night(self, nights_: list[PublishedNight]) -> PublishedNight:
        """A night that was registered in MLflow."""
        night = nights_[1]
        register = night.results["register"]
        night.results["register"] = replace(register, summary={**register.summary, "mlflow_run_id": "run-7"})
        return night

    def test_the_page_is_kept_with_the_run(self, night: PublishedNight, monkeypatch: pytest.MonkeyPatch) -> None:
        logged: list[tuple[str, str, bytes]] = []

        class Registry:
            def __init__(self, uri: str, model: str) -> None:
                self.uri = uri

            def log_artifact(self, run_id: str, path: Path) -> None:
                logged.append((run_id, path.name, path.read_bytes()))

        monkeypatch.setattr("nightshift.registry.mlflow_registry.Registry", Registry)
        page = rendered(night)
        assert logged == [("run-7", "report.html", page.encode())]

    def test_mlflow_being_away_costs_a_warning(
        self, night: PublishedNight, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def away(uri: str, model: str) -> None:
            raise StorageError("MLflow does not answer")

        monkeypatch.setattr("nightshift.registry.mlflow_registry.Registry", away)
        assert "model v2 replaced v1" in rendered(night)
        assert "could not be logged to MLflow: MLflow does not answer" in caplog.text


def test_waived_data_checks_stand_in_their_stage() -> None:
    summary = {"train_rows": 10, "holdout_rows": 5, "blessing": "waived", "checks_failed": 2}
    assert facts("preprocess", summary) == "10 to train on, 5 held out; waived: 2 failed checks"
    named = {**summary, "checks_waived": ["leakage.temp", "overlap"]}
    assert facts("preprocess", named) == "10 to train on, 5 held out; waived: leakage.temp, overlap"

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.report import charts
from nightshift.report.charts import CalibrationBin, Curve, DayBar, ScoreBin


def classes(drawing: str) -> list[str]:
    return [node.attrib.get("class", "") for node in ET.fromstring(drawing).iter()]


def texts(drawing: str) -> list[str]:
    return [node.text for node in ET.fromstring(drawing).iter("text") if node.text]


class TestRoc:
    CURVES = (
        Curve("challenger", "challenger", [(0, 0), (0.1, 0.8), (1, 1)], 0.92),
        Curve("baseline", "dep_delay alone", [(0, 0), (0.2, 0.7), (1, 1)], 0.909),
    )

    def test_the_challenger_is_drawn_last_so_that_it_lies_on_top(self) -> None:
        drawn = [name for name in classes(charts.roc(self.CURVES)) if name.startswith("curve")]
        assert drawn == ["curve baseline", "curve challenger"]

    def test_screen_readers_hear_the_values(self) -> None:
        label = ET.fromstring(charts.roc(self.CURVES)).attrib["aria-label"]
        assert label == "ROC: challenger 0.920, dep_delay alone 0.909"

    def test_the_corners_of_the_curve_are_the_corners_of_the_plot(self) -> None:
        path = next(
            n for n in ET.fromstring(charts.roc(self.CURVES)).iter() if n.attrib.get("class") == "curve challenger"
        )
        points = path.attrib["d"].removeprefix("M").split("L")
        assert points[0] == "44 258"
        assert points[-1] == "330 10"


@given(st.floats(0, 1), st.integers(1, 100_000))
def test_wilsons_interval_contains_the_observed_share(observed: float, count: int) -> None:
    low, high = CalibrationBin(0.5, observed, count).interval()
    assert 0 <= low <= observed + 1e-9
    assert observed - 1e-9 <= high <= 1


def test_calibration_tells_each_bin_on_hover() -> None:
    drawing = charts.calibration([CalibrationBin(0.2, 0.25, 1234)], [CalibrationBin(0.2, 0.3, 1234)])
    assert "1,234 rows: predicted 0.200, observed 0.250" in drawing
    assert "curve champion" in classes(drawing)


class TestScores:
    def test_each_class_is_a_share_of_itself(self) -> None:
        drawing = charts.scores([ScoreBin(0, 0.5, 900, 1), ScoreBin(0.5, 1, 100, 1)], threshold=0.31)
        bars = [n for n in ET.fromstring(drawing).iter("rect")]
        heights = {(n.attrib["class"], n.attrib["x"]): float(n.attrib["height"]) for n in bars}
        negatives = [height for (name, _), height in heights.items() if "negative" in name]
        positives = [height for (name, _), height in heights.items() if "positive" in name]
        assert negatives[0] == pytest.approx(9 * negatives[1], abs=0.1)
        assert positives[0] == pytest.approx(positives[1])
        assert "threshold 0.31" in texts(drawing)

    def test_a_class_without_rows_draws_nothing_of_it(self) -> None:
        drawing = charts.scores([ScoreBin(0, 1, 10, 0)], threshold=None)
        assert "threshold" not in drawing


class TestDays:
    BARS = (
        DayBar("2013-06-01", "train", 900, 3, 20),
        DayBar("2013-06-02", "holdout", 700, 0, 0),
        DayBar("2013-06-03", "waiting", 950, 0, 95),
    )

    def test_every_day_can_be_read(self) -> None:
        drawing = charts.days(self.BARS)
        assert "2013-06-01: 903 rows in, 3 quarantined, 20 unlabelled" in drawing
        assert texts(drawing)[:2] == ["train, 1 days", "holdout, 1"] or "holdout, 1" in texts(drawing)

    def test_three_quarantined_rows_of_nine_hundred_can_be_seen(self) -> None:
        quarantined = [
            n for n in ET.fromstring(charts.days(self.BARS)).iter("rect") if n.attrib["class"] == "day quarantined"
        ]
        assert [float(n.attrib["height"]) >= 2.5 for n in quarantined] == [True]

    def test_no_days_no_drawing(self) -> None:
        assert charts.days([]) == ""

    def test_positions_are_shares_of_the_width(self) -> None:
        bars = [n for n in ET.fromstring(charts.days(self.BARS)).iter("rect") if n.attrib["class"].startswith("day")]
        assert all(n.attrib["x"].endswith("%") and 0 <= float(n.attrib["x"][:-1]) < 100 for n in bars)


@given(st.floats(-1, 2))
def test_a_bar_never_leaves_its_cell(share: float) -> None:
    width = float(ET.fromstring(charts.bar(share, class_="x"))[0].attrib["width"][:-1])
    assert 0 <= width <= 100


def test_dots_of_equal_values_lie_on_each_other() -> None:
    drawing = charts.dots(0.9, 0.9, low=0.9, high=0.9, overall=0.9)
    circles = [n.attrib["cx"] for n in ET.fromstring(drawing).iter("circle")]
    assert circles == ["50%", "50%"]


def test_an_interval_shows_zero_and_the_allowed_loss() -> None:
    drawing = charts.interval(0.002, -0.001, 0.01, margin=0.005)
    assert classes(drawing) == ["dots", "rail", "overall", "allowed", "reach", "dot challenger"]
    lines = {node.attrib["class"]: node.attrib for node in ET.fromstring(drawing).iter() if "x1" in node.attrib}
    assert lines["overall"]["x1"] == "50%"
    assert float(lines["allowed"]["x1"].rstrip("%")) < 50 < float(lines["reach"]["x2"].rstrip("%")) <= 97


def test_an_interval_of_nothing_is_drawn_too() -> None:
    assert "dot challenger" in classes(charts.interval(0.0, 0.0, 0.0, margin=0.0))

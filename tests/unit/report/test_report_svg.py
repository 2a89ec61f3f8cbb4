from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightshift.report.svg import Scale, element, nice_ticks, number, thin_out

finite = st.floats(-1e6, 1e6, allow_nan=False)


class TestElement:
    @given(st.text(alphabet=st.characters(blacklist_categories=("Cs", "Cc"))))
    def test_any_text_is_escaped_in_content_and_attributes(self, text: str) -> None:
        parsed = ET.fromstring(element("text", text, aria_label=text))
        assert (parsed.text or "") == text
        assert parsed.attrib["aria-label"] == text

    def test_nested_markup_is_kept(self) -> None:
        assert element("g", element("title", "a < b")) == "<g><title>a &lt; b</title></g>"

    def test_names_of_attributes(self) -> None:
        assert element("rect", class_="bar", stroke_width=2, x=None) == '<rect class="bar" stroke-width="2"/>'


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (-0.0, "0"), (-0.001, "0"), (1.5, "1.5"), (2.0, "2"), (3.14159, "3.14")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


@given(finite, st.floats(1e-6, 1e6))
def test_ticks_are_round_ascending_and_inside(low: float, width: float) -> None:
    high = low + width
    ticks = nice_ticks(low, high)
    slack = width * 1e-6 + 1e-9
    assert ticks == sorted(ticks)
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert len(ticks) <= 12


def test_a_range_without_width_has_one_tick() -> None:
    assert nice_ticks(3, 3) == [3]


@given(finite, finite, st.floats(0, 1))
def test_a_scale_maps_ends_to_ends_and_keeps_order(low: float, high: float, share: float) -> None:
    scale = Scale((low, high), (10, 110))
    if high > low:
        assert math.isclose(scale(low), 10)
        assert math.isclose(scale(high), 110)
        assert 10 - 1e-6 <= scale(low + share * (high - low)) <= 110 + 1e-6
    else:
        assert scale(low) == 60


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=600))
def test_thinning_keeps_both_ends_and_the_order(points: list[tuple[float, float]]) -> None:
    kept = thin_out(points, at_most=50)
    assert len(kept) <= 50
    assert kept[0] == points[0]
    assert kept[-1] == points[-1]
    places = iter(points)
    assert all(point in places for point in kept)

"""Data Docs: Great Expectations' own page about one day, kept beside the verdict.

The page is one HTML file. Its text is complete without a network, but it takes its looks (bootstrap,
jquery, vega) from public CDNs: without one it is plain.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

PAGE = "docs/index.html"

_ELSEWHERE = re.compile(r'href="\.\./[^"]*"')


def render(result: Any, *, model: str, day: str) -> bytes:
    """The page of one validation result.

    Args:
        result: What ``Judgement.result`` holds; its title is set.
        model: Name of the model.
        day: The day that was judged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        result.suite_name = model
        result.meta["run_id"] = {"run_name": day, "run_time": ""}
        document = ValidationResultsPageRenderer().render(result)
        page: str = DefaultJinjaPageView().render(document, show_how_to_buttons=False)
    # The page stands alone: the rest of the site that it would link to is not there.
    return _ELSEWHERE.sub('href="#"', page).encode()

"""Data Docs: Great Expectations' own page about one day, kept beside the verdict.

The page is one HTML file. Its text is complete without a network, but it takes its looks (bootstrap,
jquery, vega) from public CDNs: without one it is plain.
"""

from __future__ import annotations

import warnings
from typing import Any

PAGE = "docs/index.html"


def render(result: Any) -> bytes:
    """The page of one validation result.

    Args:
        result: What ``Judgement.result`` holds.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from great_expectations.render.renderer import ValidationResultsPageRenderer
        from great_expectations.render.view import DefaultJinjaPageView

        page: str = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(result))
    return page.encode()

"""What a page is made of: data, which `?format=json` gives as they are, and a template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Page:
    """A page that can be shown.

    Attributes:
        template: The name of its file, without `.html`.
        title: For the heading and the browser's tab.
        data: What it says, by name: values that JSON knows, dates, and results of ours.
        view: What its template needs besides.
        status: Of HTTP.
        headers: Further ones.
    """

    template: str
    title: str
    data: Mapping[str, Any]
    view: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

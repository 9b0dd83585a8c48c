"""The site builds without a warning, and every link in it leads to something that it has."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from what is in the checkout."""
    built = tmp_path_factory.mktemp("site")
    run = subprocess.run(
        [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "--quiet",
         "docs", built / "html", "-d", built / "doctrees"],
        cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return built / "html"


def test_every_guide_has_a_page(site: Path) -> None:
    guides = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert guides <= {path.stem for path in site.glob("*.html")}


def test_links_lead_to_what_the_site_has(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    missing = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            has_anchor = not anchor or (target in pages and anchor in pages[target].anchors)
            if not target.is_file() or not has_anchor:
                missing.append(f"{path.relative_to(site)}: {link}")
    assert missing == []


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("index.html", "What is there today"),
        ("quickstart.html", "Replaying a recorded feed in two processes"),
        ("rules.html", "Trading and risk rules"),
        ("api/exchange.html", "engine.Exchange.state_hash"),
        ("api/embedding.html", "MarketCommands.add_instrument"),
        ("api/core.html", "engine.core.OrderBook.place"),
        ("api/pricing.html", "engine.pricing.PriceEngine"),
        ("changelog.html", "Semantic Versioning"),
    ],
)
def test_pages_show_what_they_are_for(site: Path, page: str, text: str) -> None:
    assert text in (site / page).read_text("utf-8")


def test_links_in_the_readme_become_links_between_pages(site: Path) -> None:
    links = Page(site / "index.html").links
    assert {"architecture.html#the-trigger-index", "lab.html"} <= set(links)
    assert not [link for link in links if link.endswith(".md")]

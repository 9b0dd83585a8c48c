"""The site builds without a warning, every link in it leads to something that it has, and its API
reference has every name that a program may import.
"""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support.pages import PAGES, ROOT, blocks
from support.reference import Reference, imported_names, public_modules

from engine import Exchange
from engine.core import ExchangeCore, OrderBook

EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))
#: Methods of `Exchange` that the layers around it call, and no host.
INTERNAL = {"client_order_id", "forget_dead", "index_names", "rejection_detail"}
#: Two packages have a `Row`: a link by that name would lead to the wrong one half of the time.
WITHOUT_ENTRY = {"engine.feeds.Row", "engine.schedules.Row"}


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


@pytest.fixture(scope="module")
def reference(site: Path) -> Reference:
    """What the site's API reference has."""
    return Reference(site / "objects.inv")


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
        ("api/exchange.html", "<em>None</em>) – Whom and what the command was about"),
        ("api/lab.html", "<strong>appetite_low</strong> (<em>float</em>)"),
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


def test_every_name_that_a_module_makes_public_is_there(reference: Reference) -> None:
    modules = public_modules()
    assert {"engine", "engine.core", "engine.embedding", "engine.lab", "engine.listings"} <= {
        module.__name__ for module in modules}
    public = {
        f"{module.__name__}.{name}" for module in modules
        for name in getattr(module, "__all__", ()) if not name.startswith("__")}
    assert sorted(name for name in public - WITHOUT_ENTRY if not reference.has(name)) == []


def test_every_call_of_an_exchange_is_there(reference: Reference) -> None:
    public = {
        f"engine.Exchange.{name}" for name in dir(Exchange)
        if not name.startswith("_") and name not in INTERNAL}
    assert len(public) > 70
    assert sorted(name for name in public if not reference.has(name)) == []


def test_every_call_of_the_parts_is_there(reference: Reference) -> None:
    public = {
        f"engine.core.{part.__name__}.{name}" for part in (OrderBook, ExchangeCore)
        for name in dir(part) if not name.startswith("_")}
    assert sorted(name for name in public if not reference.has(name)) == []


def test_all_that_guides_and_examples_import_is_there(reference: Reference) -> None:
    programs = [
        block.text for path in PAGES for block in blocks(path) if block.language == "python"]
    programs += [path.read_text("utf-8") for path in EXAMPLES]
    names = {name for text in programs for name in imported_names(text)}
    assert len(names) > 30
    assert sorted(
        name for name in names - WITHOUT_ENTRY if not reference.has(name)) == []


def test_a_name_that_is_missing_is_noticed(reference: Reference) -> None:
    assert not reference.has("engine.Exchange.index_names")
    assert not reference.has("engine.Exchange.no_such_call")
    assert reference.has("engine.exchange.Exchange.submit")

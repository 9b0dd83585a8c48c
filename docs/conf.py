"""The site: `tools/docs` builds it. Its pages are the Markdown files of this folder and README.md,
as they are; only their links are made to lead to pages.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

import engine  # noqa: E402

project = "perp-engine"
author = "the perp-engine authors"
project_copyright = author
version = release = engine.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
default_role = "py:obj"  # `name` in a docstring is a link where there is such a name

toc_object_entries_show_parents = "hide"
html_theme = "furo"
html_title = f"perp-engine {release}"
html_show_sphinx = False
html_copy_source = False
html_static_path = ["site.css"]
html_css_files = ["site.css"]

myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = ["Rounding", "Complexity", "Invariants", "Rejects"]

README = ROOT / "README.md"
# The page of each part of README.md, by the heading that the part begins with.
PARTS = {"# ": "index.md", "## Embedding": "quickstart.md", "## What is there today": "index.md"}
FENCED = re.compile(r"(^```.*?^```$)", re.M | re.S)
NAMES = re.compile(r"(\w+(?:, \w+)+)( : .+)?")
UNDERLINE = re.compile("-+")
LINK = re.compile(r"\[([^\]\[]*)\]\(([^)\s]+)\)")


def slug(heading: str) -> str:
    """Return the anchor of a heading, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def readme_page(anchor: str) -> str:
    """Return the page that has a heading of README.md."""
    page = "index.md"
    for line in README.read_text("utf-8").splitlines():
        page = next((PARTS[head] for head in PARTS if line.startswith(head)), page)
        if re.match("#+ ", line) and slug(line.lstrip("# ")) == anchor:
            return page
    return "index.md"


def site_link(link: re.Match[str], folder: Path) -> str:
    """Return a link of a file of a folder as it is right on the site."""
    text, (path, mark, anchor) = link[1], link[2].partition("#")
    target = (folder / path).resolve() if path else README
    if not target.is_file() or (folder == DOCS and not path):
        return link[0]  # elsewhere, on the same page, or a fault that the build reports
    if target == README:
        page = readme_page(anchor)
    elif target == ROOT / "CHANGELOG.md":
        page = "changelog.md"
    elif target.is_relative_to(DOCS):
        page = target.relative_to(DOCS).as_posix()
    else:
        page = "../" + target.relative_to(ROOT).as_posix()
    # A link that shows a page's path shows its title instead.
    shown = "" if text.strip("`") == path and page.endswith(".md") else text
    return f"[{shown}]({page}{mark}{anchor})"


def relink(text: str, folder: Path) -> str:
    """Return the text of a file of a folder with links that are right on the site."""
    parts = FENCED.split(text)
    parts[::2] = [LINK.sub(lambda link: site_link(link, folder), part) for part in parts[::2]]
    return "".join(parts)


def relink_page(app: Sphinx, page: str, source: list[str]) -> None:
    if "/" not in page:
        source[0] = relink(source[0], DOCS)


def relink_included(app: Sphinx, path: Path, page: str, source: list[str]) -> None:
    source[0] = relink(source[0], (DOCS / path).resolve().parent)


def underline_sections(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    # The sections of our own are written without the line below, which marks one for napoleon.
    for at in reversed(range(len(lines) - 1)):
        if lines[at] in napoleon_custom_sections and lines[at + 1].startswith(" "):
            lines.insert(at + 1, "-" * len(lines[at]))


def split_names(
    app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]
) -> None:
    # Attributes that share a line are one field for napoleon, with the first name for its type.
    if "Attributes" not in lines:
        return
    first = lines.index("Attributes") + 2
    section = next((at - 1 for at in range(first, len(lines)) if UNDERLINE.fullmatch(lines[at])),
                   len(lines))
    for at in reversed(range(first, section)):
        shared = NAMES.fullmatch(lines[at])
        if shared is None:
            continue
        end = at + 1
        while end < len(lines) and lines[end].startswith(" "):
            end += 1
        text = lines[at + 1:end]
        lines[at:end] = [line for each in shared[1].split(", ")
                         for line in (each + (shared[2] or ""), *text)]


def skip_aliases(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    # Fields of a named tuple say no more of themselves than this; the class explains them.
    return True if (thing.__doc__ or "").startswith("Alias for field number") else None


def without_self(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    # Compiled methods name it, those in Python don't.
    return signature and re.sub(r"^\(self(?:, )?", "(", signature), returns


def unlink_words(app: Sphinx, tree: nodes.document) -> None:
    # "sequence of int" is prose: its words are no names, though some class may have such a field.
    for link in list(tree.findall(pending_xref)):
        word = str(link["reftarget"])
        if link.get("refspecific") and word.isidentifier() and word.islower():
            link.replace_self(link.children)


def setup(app: Sphinx) -> None:
    app.connect("source-read", relink_page)
    app.connect("include-read", relink_included)
    app.connect("doctree-read", unlink_words)
    app.connect("autodoc-process-docstring", underline_sections, priority=400)
    app.connect("autodoc-process-docstring", split_names, priority=400)
    app.connect("autodoc-process-signature", without_self)
    app.connect("autodoc-skip-member", skip_aliases)
    # Fences of test vectors, which tests read by these names.
    for language in ("vectors", "market-data"):
        app.add_lexer(language, TextLexer)

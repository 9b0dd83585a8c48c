"""Rules of structure and style that run with the tests. Every failure says what to do instead."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "ext" / "engine" / "core"
REFERENCE = ROOT / "engine" / "reference"
PRICING = ROOT / "engine" / "pricing"

LINE_COLUMNS_MAX = 100
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 900
FILE_BYTES_MAX = 400_000

# What each module of the compiled core may cimport from the others: only rows above its own.
CIMPORTS = {
    "types": "",
    "memory": "",
    "fixed": "types",
    "tables": "types memory fixed",
    "events": "types memory fixed",
    "contracts": "types fixed",
    "tiers": "types fixed contracts",
    "profiles": "types fixed contracts tiers",
    "collateral": "types fixed",
    "levels": "types fixed",
    "resting": "",
    "solo": "types levels resting",
    "image": "memory tables",
    "book": "types memory fixed tables levels",
    "orderbook": "types fixed levels resting solo",
}
# From here on each module may use all above it, but for the standalone order book's.
for _upper in (
    "forms", "ledger", "pledges", "makers", "matching", "linked", "conditional", "protection",
    "triggers", "risk", "deleveraging", "fund", "backstops", "conversion", "closing", "offers",
    "liquidation", "entry", "timers", "orders", "auctions", "pairs", "views", "digest", "audit",
    "publishing", "external", "commands", "settings", "valuation", "bulk", "snapshots", "exchange",
):
    CIMPORTS[_upper] = " ".join(
        name for name in CIMPORTS if name not in ("resting", "solo", "orderbook")
    )

# Python modules outside the core that it may import.
CORE_IMPORTS = {"engine.messages", "engine.errors"}
# What the reference may import beyond itself and the standard library.
REFERENCE_IMPORTS = {"engine.messages", "engine.errors", "sortedcontainers"}
REFERENCE_IMPORTS |= {"numpy", "numpy.typing"}  # for tables handed out
# What neither may import: whatever would make state depend on more than the commands.
NONDETERMINISTIC = {"asyncio", "datetime", "io", "multiprocessing", "os", "pathlib", "random"}
NONDETERMINISTIC |= {"secrets", "socket", "sys", "threading", "time", "uuid"}

# Assembled, so that this file doesn't contain them.
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:" + "|".join(("home", "root", "Users", "work")) + ")/")

PYTHON_SUFFIXES = {".py", ".pyi"}
CYTHON_SUFFIXES = {".pyx", ".pxd", ".pxi"}
CODE_SUFFIXES = PYTHON_SUFFIXES | CYTHON_SUFFIXES


def project_files() -> list[Path]:
    """Return the files that are tracked, or would be if all were added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        parts = ["bench", "docs", "engine", "ext", "tests", "tools"]
        files = [path for part in parts for path in (ROOT / part).rglob("*") if path.is_file()]
        skipped = {".c", ".html", ".pyc", ".so"}
        return sorted(path for path in files if path.suffix not in skipped)
    return sorted({ROOT / name for name in listed.stdout.split("\0") if name})


FILES = [path for path in project_files() if path.is_file()]
CODE = [path for path in FILES if path.suffix in CODE_SUFFIXES or path.parent == ROOT / "tools"]
CORE_FILES = [path for path in FILES if path.parent == CORE and path.suffix in CYTHON_SUFFIXES]
REFERENCE_FILES = [path for path in FILES if REFERENCE in path.parents and path.suffix == ".py"]
PRICING_FILES = [path for path in FILES if PRICING in path.parents and path.suffix == ".py"]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def complain(rule: str, findings: list[str]) -> None:
    """Fail with the rule and every place that breaks it."""
    if findings:
        pytest.fail("\n".join([rule, *findings]), pytrace=False)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


STRING_OR_COMMENT = re.compile(
    r"('''|\"\"\")(?:\\.|(?!\1).)*\1"  # triple-quoted
    r"|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'"  # quoted
    r"|\#[^\n]*",
    re.DOTALL,
)


def strip_cython(text: str) -> str:
    """Return the text with strings emptied and comments gone, its lines where they were."""
    return STRING_OR_COMMENT.sub(
        lambda match: ("" if match[0][0] == "#" else '""') + "\n" * match[0].count("\n"), text
    )


# ---- layers -----------------------------------------------------------------------------------


def cimports(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) for what a Cython file imports or cimports."""
    text = strip_cython(text)
    found = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?c?import[ \t]+(\(?[^\n]+)", re.M)
    for match in found.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        origin, names = match[1], match[2]
        if origin is None or origin in ("engine.core", "."):
            prefix = "" if origin is None else "engine.core."
            if names.startswith("("):
                names = text[match.start(2) + 1 : text.index(")", match.start(2))]
            for name in names.split(","):
                if name.strip():
                    yield line, prefix + name.split()[0]
        else:
            yield line, re.sub(r"^\.", "engine.core.", origin)


def test_the_table_of_layers_points_upwards_only() -> None:
    order = list(CIMPORTS)
    for row, allowed in enumerate(CIMPORTS.values()):
        assert set(allowed.split()) <= set(order[:row]), f"row {order[row]} names a later row"


def test_core_modules_are_in_the_table_of_layers() -> None:
    unknown = sorted({path.stem for path in CORE_FILES} - set(CIMPORTS))
    complain("Give every core module a row in CIMPORTS, below all that it cimports:", unknown)


def test_core_modules_cimport_only_what_their_row_allows() -> None:
    findings = []
    for path in CORE_FILES:
        allowed = {path.stem, *CIMPORTS.get(path.stem, "").split()}
        for line, name in cimports(read(path)):
            module = name.removeprefix("engine.core.")
            if name.startswith("engine.core.") and module not in allowed:
                findings.append(f"{place(path, line)}: {path.stem} may not use {module}")
    complain("Move what is shared to a lower module, or change CIMPORTS with a reason:", findings)


def test_core_imports_nothing_of_the_shell() -> None:
    findings = []
    for path in CORE_FILES:
        for line, name in cimports(read(path)):
            inside = name.startswith("engine.core.") or name in CORE_IMPORTS
            if name.split(".")[0] == "engine" and not inside:
                findings.append(f"{place(path, line)}: {name}")
    complain(f"The core may import {sorted(CORE_IMPORTS)}; pass the rest in:", findings)


def python_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write relative imports absolutely"
            if node.module == "engine":
                yield from ((node.lineno, f"engine.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module or ""


def test_reference_stands_alone() -> None:
    findings = []
    for path in REFERENCE_FILES:
        for line, name in python_imports(ast.parse(read(path))):
            own = name == "engine.reference" or name.startswith("engine.reference.")
            standard = name.split(".")[0] in sys.stdlib_module_names
            if not (own or standard or name in REFERENCE_IMPORTS):
                findings.append(f"{place(path, line)}: {name}")
    complain(f"The reference may import {sorted(REFERENCE_IMPORTS)} and stdlib:", findings)


# ---- determinism inside the seam --------------------------------------------------------------

DETERMINISM = (
    "Inside the seam only integers, and nothing but commands. Time comes with the command (ts), "
    "division is a floor or ceil helper or //, a ratio is compared by cross-multiplying:"
)
CYTHON_BANNED = {
    "a floating-point type": re.compile(r"\b(?:float|double)\b"),
    "a floating-point literal": re.compile(r"(?<![\w.])\d+(?:\.\d|[eE]-?\d)"),
    "true division": re.compile(r"(?<!/)/(?!/)(?!\s*[,)])"),
    "a clock, chance or the system": re.compile(
        rf"(?<![\w.])(?:{'|'.join(sorted(NONDETERMINISTIC))})\."
    ),
}
# fixed.pxd may divide as C does: its helpers are where rounding gets a name.
CYTHON_ALLOWED = {("fixed.pxd", "true division")}


def banned_in_cython(path: Path) -> Iterator[str]:
    lines = strip_cython(read(path)).split("\n")
    for number, line in enumerate(lines, 1):
        for what, pattern in CYTHON_BANNED.items():
            if pattern.search(line) and (path.name, what) not in CYTHON_ALLOWED:
                yield f"{place(path, number)}: {what}: {line.strip()}"
    for number, name in cimports(read(path)):
        if name.removeprefix("libc.").split(".")[0] in NONDETERMINISTIC:
            yield f"{place(path, number)}: {name}"


def banned_in_python(path: Path) -> Iterator[str]:
    tree = ast.parse(read(path))
    for line, name in python_imports(tree):
        if name.split(".")[0] in NONDETERMINISTIC:
            yield f"{place(path, line)}: {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{place(path, node.lineno)}: true division"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield f"{place(path, node.lineno)}: a floating-point literal"
        elif isinstance(node, ast.Name) and node.id == "float":
            yield f"{place(path, node.lineno)}: float"


def test_core_is_deterministic() -> None:
    complain(DETERMINISM, [found for path in CORE_FILES for found in banned_in_cython(path)])


def test_reference_is_deterministic() -> None:
    complain(DETERMINISM, [found for path in REFERENCE_FILES for found in banned_in_python(path)])


def test_pricing_is_deterministic() -> None:
    # Outside the seam, but its commands are journaled and replayed: exact all the same.
    complain(DETERMINISM, [found for path in PRICING_FILES for found in banned_in_python(path)])


# ---- sizes ------------------------------------------------------------------------------------


def python_functions(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield (line, name, length in lines, docstring not counted)."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if ast.get_docstring(node, clean=False) is not None:
                length -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
            yield node.lineno, node.name, length


CYTHON_HEADER = re.compile(
    r"^([ \t]*)(?:def|cpdef|cdef)[ \t]+(?!class\b|struct\b|enum\b|union\b|packed\b|extern\b)"
    r"[^=(\n]*?(\w+)[ \t]*\(",
    re.MULTILINE,
)


def cython_functions(text: str) -> Iterator[tuple[int, str, int]]:
    """Yield (line, name, length in lines, docstring not counted), found by indentation."""
    docstring = re.compile(r'\n[ \t]*""(\n+)')
    text = strip_cython(text)
    for match in CYTHON_HEADER.finditer(text):
        end = match.end()
        depth = 1
        while depth and end < len(text):
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        header_end = text.find("\n", end)
        if not text[end:header_end].rstrip().endswith(":"):
            continue  # a declaration
        body = []
        for line in text[header_end + 1 :].split("\n"):
            if line.strip() and len(line) - len(line.lstrip()) <= len(match[1]):
                break
            body.append(line)
        while body and not body[-1].strip():
            body.pop()
        length = text.count("\n", match.start(), header_end) + 1 + len(body)
        described = docstring.match("\n" + "\n".join(body) + "\n")
        if described:
            length -= len(described[1])
        yield text.count("\n", 0, match.start()) + 1, match[2], length


def test_functions_are_short() -> None:
    findings = []
    for path in CODE:
        if path.suffix not in CODE_SUFFIXES:
            continue
        functions = python_functions if path.suffix in PYTHON_SUFFIXES else cython_functions
        for line, name, length in functions(read(path)):
            if length > FUNCTION_LINES_MAX:
                findings.append(f"{place(path, line)}: {name} has {length} lines")
    complain(f"Split functions of more than {FUNCTION_LINES_MAX} lines by purpose:", findings)


def test_lines_are_short() -> None:
    findings = [
        f"{place(path, number)}: {len(line)} columns"
        for path in CODE
        for number, line in enumerate(read(path).split("\n"), 1)
        if len(line) > LINE_COLUMNS_MAX
    ]
    complain(f"Break lines of more than {LINE_COLUMNS_MAX} columns:", findings)


def test_files_are_short() -> None:
    lengths = {path: read(path).count("\n") for path in CODE}
    findings = [f"{place(path, n)}" for path, n in lengths.items() if n > FILE_LINES_MAX]
    complain(f"Split files of more than {FILE_LINES_MAX} lines by what they are about:", findings)


def test_files_are_small() -> None:
    sizes = {path: path.stat().st_size for path in FILES}
    findings = [
        f"{path.relative_to(ROOT)}: {size:,} bytes"
        for path, size in sizes.items()
        if size > FILE_BYTES_MAX
    ]
    complain("Generate large files where they are needed, or compress them:", findings)


# ---- leftovers --------------------------------------------------------------------------------


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    findings = []
    for path in FILES:
        try:
            lines = read(path).split("\n")
        except UnicodeDecodeError:
            continue
        found = (number for number, line in enumerate(lines, 1) if pattern.search(line))
        findings.extend(place(path, number) for number in found)
    return findings


def test_nothing_is_marked_unfinished() -> None:
    complain("Finish it, or say in plain words what is not covered:", lines_with(UNFINISHED))


def test_no_paths_of_one_machine() -> None:
    complain("Write paths relative to the checkout:", lines_with(MACHINE_PATH))


# ---- the chain of the core's classes ----------------------------------------------------------


def test_final_methods_are_overridden_by_nobody() -> None:
    # A call in the defining module goes straight to its own body; the compiler does not notice
    # an override in another module, which such a call would then miss.
    methods: dict[str, list[tuple[Path, bool]]] = {}
    for path in sorted((ROOT / "ext" / "engine" / "core").glob("*.pyx")):
        if path.stem == "orderbook":
            continue  # a class of its own, outside the exchange's chain
        for found in re.finditer(
                r"^    (@cython\.final\n    )?cdef [\w ]*?\*?(\w+)\(", read(path), re.M):
            methods.setdefault(found[2], []).append((path, found[1] is not None))
    complain("A final method has a namesake; rename one, or let it be overridden:", [
        f"{name}: " + ", ".join(path.name for path, _ in places)
        for name, places in methods.items()
        if len(places) > 1 and any(is_final for _, is_final in places)])


# ---- the rules themselves ---------------------------------------------------------------------

SAMPLE = '''
"""Doc / time."""
from .fixed cimport add, mul
from engine.core cimport (
    book, tiers as t,
)
cimport engine.core.types
import time
cdef struct row_t:
    int a
cdef int declared(int a) except -1
cdef inline int first(
    int a,  # why
    int b,
) except -1 nogil:
    """Text.

    More.
    """
    return a // b

cdef class Book:
    cdef int x
    def second(self, a, /):
        x = call(a)

        return x / 2
cdef int third = first(1, 2)
'''


def test_the_scan_of_cython_sees_what_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [name for _, name in cimports(SAMPLE)]
    modules = ["fixed", "book", "tiers", "types"]
    assert names == [*(f"engine.core.{module}" for module in modules), "time"]
    assert list(cython_functions(SAMPLE)) == [(12, "first", 5), (24, "second", 4)]

    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    sample = tmp_path / "sample.pyx"
    sample.write_text(SAMPLE + "cdef double y = 1.5\nz = time.time() + 1e9\n")
    assert [found.split(": ")[:2] for found in banned_in_cython(sample)] == [
        ["sample.pyx:27", "true division"],
        ["sample.pyx:29", "a floating-point type"],
        ["sample.pyx:29", "a floating-point literal"],
        ["sample.pyx:30", "a floating-point literal"],
        ["sample.pyx:30", "a clock, chance or the system"],
        ["sample.pyx:8", "time"],
    ]

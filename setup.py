"""The compiled extensions; everything else about the project is in pyproject.toml.

Every ext/engine/PART/X.pyx becomes the module engine.PART.X. Switches, from the
environment (a changed switch rebuilds everything by itself):

ENGINE_DEBUG=1       every Cython check on but None (bounds, wraparound, overflow, unset
                     memoryviews) and its asserts, C asserts, -O1 -g. C code may test the
                     macro ENGINE_DEBUG: always defined, 0 in release.
ENGINE_TRACE=1       line tracing for coverage (Cython.Coverage); the generated .c stays
                     beside its .pyx, where the coverage plugin looks for it.
ENGINE_SANITIZE=...  a list for -fsanitize=, e.g. address,undefined. `tools/test` preloads
                     what such a build needs to run inside an ordinary Python.
ENGINE_FORCE=1       rebuild everything even if nothing changed.

Release: checks and asserts off, -O3; generated .c goes to build/. Whatever the switches,
cdivision stays off: // and % mean what they mean in Python and check for zero.
"""

import hashlib
import os
import re
import sys
from pathlib import Path

import Cython
from Cython.Build import cythonize
from Cython.Compiler.Errors import CompileError
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCES = sorted(ROOT.glob("ext/engine/*/*.pyx"))


def is_on(name):
    return os.environ.get(name, "") not in ("", "0")


DEBUG = is_on("ENGINE_DEBUG")
TRACE = is_on("ENGINE_TRACE")
SANITIZE = os.environ.get("ENGINE_SANITIZE", "")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": DEBUG,
    # Takes the GIL at each `+=` on a member, which batches run without.
    "nonecheck": False,
    "overflowcheck": DEBUG,
    "initializedcheck": DEBUG,
    "cdivision": False,
    "embedsignature": True,
    "embedsignature.format": "python",
    "binding": True,
    "linetrace": TRACE,
}


def compiler_settings():
    """Return what the C compiler and linker are told, as keywords of Extension."""
    # What Cython's own boilerplate would set off under -Wall.
    quiet = ["-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-but-set-variable"]
    flags = ["-Wall", *quiet, *(["-O1", "-g"] if DEBUG else ["-O3"])]
    link, undefine = [], []
    macros = [("ENGINE_DEBUG", str(int(DEBUG)))]
    if DEBUG:
        undefine.append("NDEBUG")
    else:
        macros.append(("CYTHON_WITHOUT_ASSERTIONS", "1"))
    if TRACE:
        macros.append(("CYTHON_TRACE_NOGIL", "1"))
    if SANITIZE:
        # Python's own -fwrapv would make signed overflow defined, hence invisible.
        link.append(f"-fsanitize={SANITIZE}")
        flags += [*link, "-fno-omit-frame-pointer", "-fno-wrapv", "-g"]
        flags.append("-fno-sanitize-recover=all")
    return {
        "extra_compile_args": flags,
        "extra_link_args": link,
        "define_macros": macros,
        "undef_macros": undefine,
    }


def layout_name():
    """Return a name for how the core's state lies in memory, which a snapshot carries.

    It changes with every declaration, and with nothing else: comments don't count.
    """
    declared = "\n".join(
        line.rstrip()
        for path in sorted(ROOT.glob("ext/engine/core/*.pxd"))
        for line in re.sub(r"#.*", "", path.read_text("utf-8")).splitlines()
        if line.strip()
    )
    return hashlib.sha256(f"{sys.byteorder} {sys.maxsize} {declared}".encode()).hexdigest()[:32]


def extension(path):
    """Return the extension module of a source."""
    settings = compiler_settings()
    name = ".".join(path.relative_to(ROOT / "ext").with_suffix("").parts)
    if name == "engine.core.snapshots":
        settings["define_macros"].append(("ENGINE_LAYOUT", f'"{layout_name()}"'))
    return Extension(name, [path.relative_to(ROOT).as_posix()], **settings)


def build_mode():
    """Return a line that changes whenever everything must be built anew."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    switches = f"debug={DEBUG:d} trace={TRACE:d} sanitize={SANITIZE or 'none'}"
    return f"{switches} cython={Cython.__version__} recipe={recipe}\n"


class BuildExtensions(build_ext):
    """Cythonize and compile on all cores; start afresh when the build mode changed."""

    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or CORES

    def run(self):
        stamp = ROOT / "build" / "mode"
        is_stale = is_on("ENGINE_FORCE") or not stamp.exists() or stamp.read_text() != build_mode()
        self.force = self.force or is_stale
        # Gone until this build has succeeded, together with the stamp of tools/bootstrap.sh.
        for old in (stamp, stamp.with_name(f"fresh-{sys.implementation.cache_tag}")):
            old.unlink(missing_ok=True)
        if not (self.inplace or DEBUG or SANITIZE):
            # Debug information is four fifths of a module, and no use without the sources. Nor are
            # the names of its functions, an eighth of what is left; ld64 has no such option.
            for each in self.extensions:
                each.extra_compile_args.append("-g0")
                if sys.platform == "linux":
                    each.extra_link_args.append("-Wl,-s")
        super().run()
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(build_mode())
        if self.inplace:
            self.remove_orphans()

    def build_extensions(self):
        try:
            cythonized = cythonize(
                self.extensions,
                include_path=["ext"],
                build_dir=None if TRACE else "build",
                compiler_directives=DIRECTIVES,
                emit_linenums=DEBUG or bool(SANITIZE),  # reports name lines of the .pyx
                nthreads=CORES if CORES > 1 and len(self.extensions) > 1 else 0,
                force=self.force,
            )
        except CompileError as error:  # Cython has said what is wrong; a traceback would bury it
            raise SystemExit(f"cannot compile {error}") from None
        sources = {extension.name: extension.sources for extension in cythonized}
        for extension in self.extensions:
            extension.sources = sources[extension.name]
        super().build_extensions()

    def remove_orphans(self):
        # A module whose .pyx is gone must not stay importable.
        modules = {path.relative_to(ROOT / "ext").with_suffix("") for path in SOURCES}
        for folder in {ROOT / module.parent for module in modules}:
            for built in folder.glob("*.so"):
                if built.relative_to(ROOT).parent / built.name.split(".")[0] not in modules:
                    built.unlink()


if __name__ == "__main__":
    setup(
        ext_modules=[extension(path) for path in SOURCES],
        cmdclass={"build_ext": BuildExtensions},
    )

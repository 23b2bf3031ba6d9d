"""R's manual pages as gold: each .Rd that the package r-base-core brings, written by R itself as a web page and as plain text.

    bash bench/peers/extract.sh && .bench/extract/bin/python bench/extract_rd.py        # prints what is there

Text: R's plain text of the page, without its running head. Code: the sections Usage and Examples, but for examples that are not to be
run, which R's two writers space differently. Formulas: the LaTeX of each \\eqn and
\\deqn. R runs from where its Debian package was unpacked; nothing is installed.
"""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path

from extract_gold import GoldPage

DOCS = Path(__file__).parents[1] / ".bench" / "docs"
PAGES = DOCS / "r-pages"
_SECTION = re.compile(r"^([A-Z][^\n]*):\n\n((?: {5}.*\n|\s*\n)+)", re.M)
_FORMULAS = re.compile(r"^@@(.*)$", re.M)
_SCRIPT = """
formulas <- function(node) {
  if (!is.list(node)) return(character())
  if (identical(attr(node, "Rd_tag"), "\\\\eqn") || identical(attr(node, "Rd_tag"), "\\\\deqn"))
    return(gsub("\\\\s+", " ", paste(as.character(node[[1]]), collapse = "")))
  unlist(lapply(node, formulas))
}
for (package in c("base", "stats", "utils", "graphics", "grDevices", "methods")) {
  db <- tools::Rd_db(package)
  for (name in names(db)) {
    place <- file.path(Sys.getenv("PAGES"), paste0(package, "-", sub("\\\\.Rd$", "", name)))
    try({
      tools::Rd2HTML(db[[name]], paste0(place, ".html"), package = package, dynamic = FALSE)
      tools::Rd2txt(db[[name]], paste0(place, ".txt"), package = package, options = list(underline_titles = FALSE))
      writeLines(paste0("@@", formulas(db[[name]])), paste0(place, ".math"), useBytes = TRUE)
    }, silent = TRUE)
  }
}
"""


def render() -> None:
    """Writes all pages, once; some 1,200 in half a minute."""
    home = DOCS / "r-base-core" / "usr" / "lib" / "R"
    blas = next(DOCS.rglob("libblas.so.3"), None)
    if PAGES.is_dir() or not home.is_dir() or blas is None:
        return
    made = PAGES.with_suffix(".part")
    made.mkdir(exist_ok=True)
    env = os.environ | {
        "R_HOME": str(home), "R_SHARE_DIR": str(home.parents[1] / "share" / "R" / "share"), "R_DOC_DIR": "/", "R_INCLUDE_DIR": "/", "EDITOR": "vi",
        "PAGER": "cat", "LD_LIBRARY_PATH": f"{home / 'lib'}:{blas.parent}", "R_DEFAULT_PACKAGES": "NULL", "LC_ALL": "C.UTF-8", "PAGES": str(made),
    }  # fmt: skip
    command = [str(home / "bin" / "exec" / "R"), "--no-echo", "--no-restore", "--vanilla", "-e", _SCRIPT]
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made.rename(PAGES)


def r_pages(limit: int) -> list[GoldPage]:
    """A fixed sample; none where R's package is not there."""
    render()
    out = []
    paths = sorted(PAGES.glob("*.html"))
    for path in paths[:: max(len(paths) // limit, 1)][:limit]:
        text, math = (path.with_suffix(end).read_text(encoding="utf-8", errors="replace") for end in (".txt", ".math"))
        text = text.partition("\n")[2]
        code = [
            textwrap.dedent(body).strip("\n")
            for title, body in _SECTION.findall(text)
            if title in ("Usage", "Examples")
        ]
        code = [
            re.sub(r"[ \t]+$", "", block, flags=re.M) for block in code if "\n" in block and "## Not run" not in block
        ]
        formulas = [f.strip() for f in _FORMULAS.findall(math) if f.strip()]
        out.append(GoldPage("rd", f"r/{path.stem}", "", path.read_text(encoding="utf-8"), text, 0, code, formulas))
    return out


if __name__ == "__main__":
    found = r_pages(60)
    print(len(found), "pages", sum(len(p.code) for p in found), "code", sum(len(p.math) for p in found), "math")

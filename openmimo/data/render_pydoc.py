"""Child process of `sources.pydoc_pages`: renders modules' documentation to HTML with pydoc. Not to be imported.

    echo '["bisect"]' | python -s -P -S openmimo/data/render_pydoc.py

Reads a JSON list of module names, writes a JSON line for each as it is done: {"module", "html"} or {"module", "error"}.
Importing a module may print, exit or crash: what it prints goes nowhere, and the parent goes on after the one that
took this process with it.
"""

import contextlib
import importlib
import io
import json
import os
import pydoc
import sys
import warnings


def main() -> None:
    """Renders every module named on the standard input."""
    modules = json.loads(sys.stdin.read())
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    doc = pydoc.HTMLDoc()
    for name in modules:
        print(json.dumps({"start": name}), file=answers, flush=True)
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                module = importlib.import_module(name)
                vars(module).pop("__warningregistry__", None)  # what was imported before it, not part of it
                html = doc.page(name, doc.document(module, name))
            answer = {"module": name, "html": html}
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # SystemExit too: any failure is the module's answer
            answer = {"module": name, "error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(answer), file=answers, flush=True)
    answers.flush()
    os._exit(0)  # threads and exit hooks of what was imported do not matter


if __name__ == "__main__":
    main()

"""PDF: columns, hyphenation, ligatures, code, scripts, running heads; a small PDF is written here, byte by byte."""

import pytest

from openmimo.data.extract.pdf import clean, extract_pdf
from openmimo.data.extract.pdf_layout import Piece, reading_order
from openmimo.errors import UserError


def pdf(pages: list[list[tuple]]) -> bytes:
    """A PDF of lines (x, y, size, font, text); fonts: R Helvetica, M Courier."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    fonts = "<< /R << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> /M << /Type /Font /Subtype /Type1 /BaseFont /Courier >> >>"
    kids = []
    for lines in pages:
        escaped = [
            (x, y, s, f, t.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")) for x, y, s, f, t in lines
        ]
        content = "\n".join(f"BT /{f} {s} Tf 1 0 0 1 {x} {y} Tm ({t}) Tj ET" for x, y, s, f, t in escaped)
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
        kids.append(len(objects) + 1)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font {fonts} >> /Contents {len(objects)} 0 R >>"
        )
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{k} 0 R' for k in kids)}] >>"
    body, offsets = "%PDF-1.4\n", []
    for number, text in enumerate(objects, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{text}\nendobj\n"
    table = "".join(f"{o:010d} 00000 n \n" for o in offsets)
    return (
        body
        + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    ).encode("latin-1")


def test_two_columns_hyphens_and_code():
    left = [
        "The left column comes first and is read from",
        "its top to its bottom, with a broken exam-",
        "ple of a word that is made whole again, and",
        "then it ends before the right one begins.",
    ]
    right = [
        "The right column follows, and what stands in",
        "it does not mix with lines of the left one, as",
        "it would if the page were read line by line",
        "from one side of the page to the other side.",
    ]
    lines = [(50, 760, 18, "R", "A title over both of the columns of this page")]
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        lines += [(50, 720 - 12 * i, 10, "R", a), (320, 720 - 12 * i, 10, "R", b)]
    lines += [(320, 600, 9, "M", "def f(x):"), (320 + 4 * 5.4, 589, 9, "M", "return x")]
    text = extract_pdf(pdf([lines]))
    assert text == (
        "## A title over both of the columns of this page\n\n" + " ".join(left).replace("exam- ple", "example") + "\n\n" + " ".join(right) + "\n\n```\ndef f(x):\n    return x\n```"
    )  # fmt: skip


def test_scripts_and_running_heads():
    pages = [[(50, 780, 9, "R", f"Journal of Sums, page {n}"), (50, 700, 10, "R", "Let x"), (73.4, 704, 6, "R", "2"), (80, 700, 10, "R", "be " + ["", "one.", "two.", "three.", "four."][n]), (300, 20, 9, "R", str(n))] for n in range(1, 5)]  # fmt: skip
    for n, page in enumerate(pages):
        page += [
            (50, 600 - 40 * i, 10, "R", f"{word} and so on")
            for i, word in enumerate(["One", "Two", "Three", "Four"][n:] * 2)
        ]
    text = extract_pdf(pdf(pages))
    assert "Journal" not in text and text.split("\n\n")[0] == "Let x^2 be one."


def test_ligatures():
    assert clean("e\ufb03cient \ufb01nd\u00ad") == "efficient find"


def test_labels_are_no_column():
    pieces = [Piece(f"[{i}]", 50, 60, 700 - 12 * i) for i in range(9)] + [
        Piece("a reference of some length, and more", 80, 300, 700 - 12 * i) for i in range(9)
    ]
    assert [p.text[:5] for p in reading_order(pieces)][:2] == ["[0] a", "[1] a"]


def test_what_is_no_pdf(tmp_path):
    with pytest.raises(UserError, match="repair"):
        extract_pdf(b"%PDF-1.4 nothing")
    with pytest.raises(UserError, match="no such file"):
        extract_pdf(tmp_path / "absent.pdf")

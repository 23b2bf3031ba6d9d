"""Pages -> Markdown with code and LaTeX: `page` is the way in, the other files are its parts; `pdf` reads PDF."""

from openmimo.data.extract.page import (
    decode_html,
    extract_document,
    extract_documents,
    extract_file,
    extract_html,
    extract_page,
)

__all__ = ["decode_html", "extract_document", "extract_documents", "extract_file", "extract_html", "extract_page"]

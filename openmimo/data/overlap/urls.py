"""Canonical URLs and URL dedup: one page, one document, over all dumps [R 2.1].

    python -c "from openmimo.data.overlap.urls import canonical_url as c; print(c('HTTP://Example.COM:80/a/../b/?utm_source=x&q=1#top'))"

The report does not say how URLs are normalised; these rules are our choice. Two URLs that differ in their scheme only
(http and https) are the same page; of the documents of one page the longest text stays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from openmimo.data.document import Document
from openmimo.errors import UserError

_TRACKERS = re.compile(
    r"^(utm_\w+|mtm_\w+|pk_\w+|at_(medium|campaign|custom\d*)|fbclid|gclid|gbraid|wbraid|dclid|msclkid|yclid|twclid|igshid|mc_cid|mc_eid|"
    r"_ga|_gl|_hsenc|_hsmi|mkt_tok|vero_id|oly_\w+_id|wickedid|spm|scm|share_(token|source)|ref_src|ref_url|"
    r"phpsessid|jsessionid|aspsessionid\w*|sessionid|session_id)$",
    re.I,
)
_PLAIN = re.compile(  # what most URLs are: nothing in it to normalise but the end, the parameters' order and trackers
    r"(https?://[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:/(?:[A-Za-z0-9_~-]|%[89A-F][0-9A-F])(?:[A-Za-z0-9_~.-]|%[89A-F][0-9A-F])*)*)/*(?:\?((?:[\w~.-]+=[\w~.-]*)(?:&[\w~.-]+=[\w~.-]*)*))?",
    re.A,
)
_PORTS = {"http": 80, "https": 443, "ftp": 21}


def canonical_url(url: str) -> str:
    """The form that all spellings of a URL share; a UserError where it cannot be read as a URL.

    Lower-case scheme and host (international names as ASCII), no default port, user, fragment (but `#!`, an address
    of its own), tracker or session parameter; parameters sorted by name; dot segments resolved, percent-encoding
    uniform, no slash at the end.
    """
    if plain := _PLAIN.fullmatch(url):
        page, query = plain.groups()
        if query is None:
            return page
        pairs = sorted((pair.partition("=") for pair in query.split("&")), key=lambda p: p[0])
        kept = "&".join(map("".join, (p for p in pairs if not _TRACKERS.match(p[0]))))
        return f"{page}?{kept}" if kept else page
    return _canonical(url)


def _canonical(url: str) -> str:
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
        host = host if host is None or host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError is one
        raise UserError(f"URL {url[:200]!r}: {error}; give an absolute URL") from None
    scheme = parts.scheme.lower()
    if not scheme or (not host and scheme != "file"):
        raise UserError(f"URL {url[:200]!r}: no scheme or no host; give an absolute URL such as https://host/page")
    host = (host or "").rstrip(".")
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _PORTS.get(scheme):
        host += f":{port}"
    fragment = parts.fragment if parts.fragment.startswith("!") else ""
    return urlunsplit((scheme, host, _canonical_path(parts.path), _canonical_query(parts.query), fragment))


def _canonical_path(path: str) -> str:
    """Dot segments resolved, percent-encoding uniform, no session, no slash at the end."""
    out: list[str] = []
    for segment in re.sub(r";jsessionid=[^/]*", "", path, flags=re.I).split("/")[1:]:
        if segment == "..":
            del out[-1:]
        elif segment != ".":
            out.append(
                quote(unquote(segment, errors="surrogateescape"), safe="!$&'()*+,;=:@-._~", errors="surrogateescape")
            )
    return "/".join(["", *out]).rstrip("/")


def _canonical_query(query: str) -> str:
    """Parameters sorted by name, without trackers; escaped bytes stay the bytes they are."""
    query = re.sub(r"[^\x00-\x7f]+", lambda m: quote(m[0], errors="surrogatepass"), query)
    pairs = parse_qsl(query, keep_blank_values=True, encoding="latin-1")
    return urlencode(sorted((p for p in pairs if not _TRACKERS.match(p[0])), key=lambda p: p[0]), encoding="latin-1")


def url_key(url: str) -> str:
    """What two URLs of one page have in common: the canonical URL without http or https."""
    return re.sub(r"^https?:", "", canonical_url(url))


def dedup_urls(documents: Iterable[Document]) -> tuple[list[Document], Counter]:
    """One document for each URL (the longest text, then the smallest id), in the order of the input.

    Counts `kept` and `dropped, same URL`; among the kept, documents with no URL (never dropped) and with a malformed
    one (compared as it is written).
    """
    documents = list(documents)
    best: dict[str, int] = {}
    counts: Counter = Counter()
    keep = set()
    for i, document in enumerate(documents):
        if not document.url.strip():
            counts["kept without a URL"] += 1
            keep.add(i)
            continue
        try:
            key = url_key(document.url)
        except UserError:
            counts["malformed URL"] += 1
            key = document.url.strip()
        rival = best.setdefault(key, i)
        if _preference(document) < _preference(documents[rival]):
            best[key] = i
    keep.update(best.values())
    counts["kept"] = len(keep)
    counts["dropped, same URL"] = len(documents) - len(keep)
    return [documents[i] for i in sorted(keep)], counts


def _preference(document: Document) -> tuple:
    return (-len(document.text), document.id, document.text)

"""What a page says of itself: title, date, language, canonical URL; kept beside the text [R 2.1].

    python -c "from openmimo.data.extract.page_facts import *; from openmimo.data.extract.html_tree import parse; print(date_of(parse('<meta property=article:published_time content=2024-03-01T10:00Z>')))"

Sources, most reliable first: JSON-LD, meta tags, <time> and microdata in the text, for the language also the letters of the text.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urljoin, urlsplit

from openmimo.data.extract.html_tree import Page

_DATE_METAS = (
    "article:published_time", "og:published_time", "datepublished", "date", "dc.date", "dc.date.issued", "dcterms.created", "dcterms.date", "pubdate",
    "publishdate", "publish_date", "publish-date", "parsely-pub-date", "sailthru.date", "citation_publication_date", "citation_date", "article:published",
    "datecreated", "weibo: article:create_at", "last-modified", "article:modified_time", "og:updated_time", "datemodified", "dcterms.modified",
)  # fmt: skip
_DATE = re.compile(r"\b(1[89]\d\d|20\d\d)[-/.年]\s?(0?[1-9]|1[0-2])[-/.月]\s?(0?[1-9]|[12]\d|3[01])(?!\d)")
_COMPACT = re.compile(r"^(19\d\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_MONTHS = {m: i + 1 for i, m in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split())}
_WORDS = re.compile(
    r"\b(?:(\d{1,2})(?:st|nd|rd|th)?\s+)?(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s+(?:(\d{1,2})(?:st|nd|rd|th)?,?\s+)?(19\d\d|20\d\d)\b",
    re.I,
)
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]"), 0.08), ("ko", re.compile("[\uac00-\ud7af]"), 0.2), ("zh", re.compile("[\u4e00-\u9fff]"), 0.2), ("ar", re.compile("[\u0600-\u06ff]"), 0.3),
    ("he", re.compile("[\u0590-\u05ff]"), 0.3), ("el", re.compile("[\u0370-\u03ff]"), 0.4), ("th", re.compile("[\u0e00-\u0e7f]"), 0.3), ("hi", re.compile("[\u0900-\u097f]"), 0.3),
    ("uk", re.compile("[їієґ]"), 0.04), ("ru", re.compile("[\u0400-\u04ff]"), 0.3),
)  # fmt: skip
_COMMON = {
    "en": "the of and to in is that for it with as was on are this be by from have not",
    "de": "der die und das ist nicht ein eine zu den mit von auf für sich dem auch wird",
    "fr": "le la les des et est une que pour dans qui sur pas avec au du plus ce",
    "es": "el la los las de que y en un una es por con para del se no su",
    "it": "il di che la e un una per non sono con del della le si da nel",
    "pt": "o de que e do da em um uma para com não os as no na se por",
    "nl": "de het een van en dat niet is op te zijn met voor aan er ook",
    "pl": "w i na nie się z do to jest że o jak po co ale od przez",
    "sv": "och att det som en på är av för med den till inte har om ett",
    "tr": "ve bir bu için da de ile olarak çok daha olan gibi en ne",
    "cs": "a se na je v že to s z do o pro si za by ale jako",
    "vi": "và của là có cho được không một trong các với những người này",
    "id": "yang dan di dengan untuk dari ini pada tidak itu dalam adalah ke",
}
_COMMON_SETS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def title_of(page: Page) -> str:
    """og:title or <title>, without the site's name where a heading of the page says which part that is."""
    title = " ".join((page.metas.get("og:title") or page.metas.get("citation_title") or page.title).split())
    whole = page.title or title
    for element in page.elements:
        if element.tag == "h1":
            heading = " ".join(element.text().split())
            if len(heading) > 8 and heading in whole:
                return heading
    return title


def date_of(page: Page) -> str:
    """The day of publication, else of the last change, as YYYY-MM-DD; empty where the page names none."""
    for key in ("datePublished", "dateCreated", "uploadDate"):
        for item in _items(page):
            if found := _day(item.get(key)):
                return found
    for name in _DATE_METAS[:-5]:
        if found := _day(page.metas.get(name)):
            return found
    for element in page.elements:
        if element.tag == "time" or "datePublished" in element.written:
            found = _day(element.attrs.get("datetime") or element.attrs.get("content") or element.text())
            if found:
                return found
    for name in _DATE_METAS[-5:]:
        if found := _day(page.metas.get(name)):
            return found
    return next(filter(None, (_day(item.get("dateModified")) for item in _items(page))), "")


def language_of(page: Page, text: str) -> str:
    """ISO 639-1 of the text: by its letters, then by its common words, then as the page declares."""
    declared = (page.lang or page.metas.get("content-language") or page.metas.get("og:locale") or "").lower()
    declared = re.split(r"[-_,]", declared.strip())[0]
    sample = text[:4000]
    letters = sum(map(str.isalpha, sample))
    if letters > 40:
        for language, pattern, share in _SCRIPTS:
            if len(pattern.findall(sample.lower())) > share * letters:
                return declared if language == "ru" and declared in ("bg", "sr", "mk", "be", "kk") else language
        words = re.findall(r"[^\W\d_]+", sample.lower())
        scores = {language: sum(w in common for w in words) for language, common in _COMMON_SETS.items()}
        best = max(scores, key=scores.get)
        if scores[best] > 0.1 * len(words) and scores[best] > 1.3 * scores.get(declared, 0):
            return best
    return declared if re.fullmatch(r"[a-z]{2,3}", declared) else ""


def canonical_of(page: Page, url: str | None = None) -> str:
    """The address that the page itself names (canonical link, og:url), else the one it came from."""
    for candidate in (page.links.get("canonical", ""), page.metas.get("og:url", "")):
        try:
            address = urljoin(url or "", candidate.strip())
            if candidate.strip() and urlsplit(address).scheme in ("http", "https") and urlsplit(address).hostname:
                return address
        except ValueError:
            continue
    return url or ""


def _items(page: Page):
    """The objects of the page's JSON-LD, nested ones in @graph too."""
    for source in page.data:
        try:
            stack = [json.loads(source, strict=False)]
        except (ValueError, RecursionError):
            continue
        while stack:
            node = stack.pop(0)
            if isinstance(node, list):
                stack = node[:50] + stack
            elif isinstance(node, dict):
                yield node
                stack += [
                    node[k]
                    for k in ("@graph", "mainEntity", "mainEntityOfPage")
                    if isinstance(node.get(k), (dict, list))
                ]


def _day(value: object) -> str:
    """A date in a value as YYYY-MM-DD; empty where there is none."""
    if not isinstance(value, str):
        return ""
    value = value.strip()[:200]
    match = _DATE.search(value) or _COMPACT.match(value)
    if match:
        return f"{int(match[1]):04d}-{int(match[2]):02d}-{int(match[3]):02d}"
    match = _WORDS.search(value)
    if match and (match[1] or match[3]):
        day = int(match[1] or match[3])
        return f"{int(match[4]):04d}-{_MONTHS[match[2][:3].lower()]:02d}-{day:02d}" if 1 <= day <= 31 else ""
    return ""

"""Marks what is not the page's own content (menus, sidebars, link lists, hidden parts) and finds its main element.

    python -c "from openmimo.data.main_content import *; from openmimo.data.html_tree import parse; print(find_main(parse('<nav>x</nav><main>y</main>')).tag)"

Rules only, no training: tags, ARIA roles, class words, link density. Part of extraction [R 2.1]; a classifier trained on
gold pages may replace `find_main` later: it sets `skip` on elements and returns the element to read, nothing else.
"""

from __future__ import annotations

import re
from urllib.parse import urldefrag, urljoin

from openmimo.data.html_tree import Element, Page

_SKIP_TAGS = frozenset(
    "script style noscript nav footer aside template iframe svg canvas object embed head dialog audio video map "
    "button select option optgroup textarea datalist progress meter menu frameset applet".split()
)
_SKIP_ROLES = frozenset(
    "navigation banner contentinfo search complementary menu menubar dialog alertdialog toolbar".split()
)
_SKIP_WORDS = frozenset(
    """nav navbar navigation navbox menu menus submenu sidebar sidenav sidepanel footer breadcrumb breadcrumbs crumbs cookie cookies
    consent gdpr sharebar advert adverts advertisement ads adsense sponsored newsletter pagination pager paginator skiplink
    editsection printfooter catlinks topnav bottomnav masthead headerlink permalink noprint sr visuallyhidden""".split()
)
_DOUBTFUL_WORDS = frozenset(  # these drop an element only if it has little text of its own
    """share sharing social socials banner sponsor promo subscribe subscription signup login popup modal overlay tooltip toast
    related recommended recommendations recommend toolbar copyright signature userinfo usercp reactions toc tags taglist widget
    widgets metadata jump skip author avatar vote votes rating""".split()
)
_LITTLE_TEXT = 250  # characters outside links
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.I)
_WORDS = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MAIN_IDS = frozenset(
    ["mw-content-text", "main-content", "maincontent", "article-body", "post-body", "mainbar", "readme"]
)
_MAIN_SHARE = 0.3  # of the body's text a main element must hold to be believed
_KEEP_SHARE = 0.5  # an element with more of the text than this is not dropped for its class
_LINK_BLOCKS = frozenset("ul ol div table section p td tr dl center form header".split())


def find_main(page: Page, url: str | None = None) -> Element:
    """Sets `skip` on what is to be left out; returns the element whose content is the page's.

    url: the page's own address: links to its own sections then do not count as navigation.
    """
    _skip_by_markup(page)
    _count_text(page, url)
    body = page.first("body") or page.root
    _skip_by_class(page, body)
    main = _main_element(page, body)
    _skip_link_lists(page, main)
    return main


def _skip_by_markup(page: Page) -> None:
    """Tags, roles, hidden elements; renderings by MathJax 2 that stand beside their source."""
    with_source = {e.parent_index for e in page.elements if e.is_formula_source}
    for element in page.elements:
        attrs = element.attrs
        if element.tag in _SKIP_TAGS:
            element.skip = not element.is_formula_source
        elif not attrs:
            continue
        elif attrs.get("role", "").lower() in _SKIP_ROLES:
            element.skip = True
        elif "hidden" in attrs or attrs.get("aria-hidden") == "true" or _HIDDEN.search(attrs.get("style", "")):
            element.skip = element.tag != "img" and not element.formulas
        elif element.parent_index in with_source and any(c.startswith("mathjax") for c in element.classes):
            element.skip = True
        if element.tag in ("html", "body", "main"):
            element.skip = False


def _count_text(page: Page, url: str | None) -> None:
    """chars, link_chars and links of each element, of itself and all below; what is skipped counts nothing."""
    here = urldefrag(url)[0] if url else None
    for element in reversed(page.elements):
        if element.skip:
            element.chars = element.link_chars = element.links = 0
            continue
        element.chars += sum(len(c.strip()) for c in element.children if isinstance(c, str))
        if element.tag == "a" and element.attrs.get("href") and not _is_own_section(element.attrs["href"], here):
            element.link_chars, element.links = element.chars, 1
        if element.parent_index >= 0:
            parent = page.elements[element.parent_index]
            parent.chars += element.chars
            parent.link_chars += element.link_chars
            parent.links += element.links


def _is_own_section(href: str, here: str | None) -> bool:
    """A link into the very page it stands on."""
    if href.startswith("#"):
        return True
    if here is None or "#" not in href:
        return False
    try:
        return urldefrag(urljoin(here, href))[0] == here
    except ValueError:  # a link that is no URL leads nowhere else
        return False


def _skip_by_class(page: Page, body: Element) -> None:
    limit = _KEEP_SHARE * max(body.chars, 1)
    for element in page.elements:
        if (
            element.skip
            or element.chars > limit
            or element.tag in ("html", "body", "main", "article", "math", "pre", "code")
        ):
            continue
        names = element.attrs.get("class", "") + " " + element.attrs.get("id", "")
        words = _WORDS.findall(_CAMEL.sub("-", names).lower())
        if not _SKIP_WORDS.isdisjoint(words):
            element.skip = True
        elif not _DOUBTFUL_WORDS.isdisjoint(words) or element.tag == "header":
            element.skip = element.chars - element.link_chars < _LITTLE_TEXT and not element.headings


def _main_element(page: Page, body: Element) -> Element:
    """<main>, a known id, or the only <article>, where it holds enough of the text; else the body."""
    enough = _MAIN_SHARE * max(body.chars, 1)
    articles = [e for e in page.elements if e.tag == "article" and not e.skip]
    named = [
        e
        for e in page.elements
        if e.tag == "main" or e.attrs.get("role") == "main" or e.attrs.get("id", "").lower() in _MAIN_IDS
    ]
    for element in [*articles[:1], *named] if len(articles) == 1 else named:
        if element.chars >= enough and element.tag != "html":
            return element
    return body


def _skip_link_lists(page: Page, main: Element) -> None:
    """Blocks that are little but links (three or more, with hardly any text between them), the innermost first."""
    for element in reversed(page.elements):
        if element.links < 3 or element is main or element.skip or element.tag not in _LINK_BLOCKS:
            continue
        bare = element.chars - element.link_chars
        mostly_links = element.link_chars > 0.6 * element.chars and bare < 15 * element.links
        if mostly_links and element.chars < 0.5 * max(main.chars, 1):
            element.skip = True
            index = element.parent_index
            while index >= 0:  # the blocks around it are judged without it
                around = page.elements[index]
                around.chars -= element.chars
                around.link_chars -= element.link_chars
                around.links -= element.links
                index = around.parent_index

"""Threads of forums and Q&A sites as posts in order: author, score, accepted mark, text [R 2.1].

    python -c "from openmimo.data.extract.threads import *; from openmimo.data.extract.html_tree import parse; print(posts_of(parse(open('thread.html').read())))"

A post is an element that the page's own markup names: schema.org's types (Question, Answer, DiscussionForumPosting, Comment),
or the classes of the programs that most sites run. A page with fewer than two posts is no thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from openmimo.data.extract.html_tree import Element, Page, parse_attributes
from openmimo.data.extract.markdown import to_markdown

_ITEM_TYPES = re.compile(r"schema\.org/(Question|Answer|DiscussionForumPosting|SocialMediaPosting|Comment)\b")
_POST = re.compile(  # classes of a post: Stack Exchange, Discourse, phpBB, vBulletin, XenForo, MyBB, SMF, Invision, Flarum, NodeBB, Discuz
    r"(?:^| )(question|answer|topic-post|postbit|postbitlegacy|postcontainer|message--post|post_wrapper|cPost|ipsComment|CommentPost|js-post|"
    r"topic-body crawler-post|comment-body|bbp-reply|forum-post|post has-profile|post bg[12]|post classic|post|message)(?: |$)"
)
_BODY = re.compile(
    r"(?:^| )(s-prose|js-post-body|post-text|cooked|postbody|postcontent|post_content|post_body|bbWrapper|message-body|messageText|inner|ipsType_richText|"
    r"Post-body|content|t_f|bbp-reply-content|post-content|comment-copy|post_message|message-content|entry-content|comment-content)(?: |$)"
)
_AUTHOR = re.compile(
    r"(?:^| )(author|username|user-details|creator|poster|post-author|poster-name|bigusername|cAuthorPane_author|ipsComment_author|PostUser-name|"
    r"postauthor|author-name|user-name|message-name|bbp-author-name|authi|comment-user|post_author|largetext|names)(?: |$)",
    re.I,
)
_SCORE = re.compile(
    r"(?:^| )(js-vote-count|vote-count-post|vote-count|score|votes|upvote-count|like-count|reaction-score|Post-points)(?: |$)",
    re.I,
)
_ACCEPTED = re.compile(
    r"accepted-answer|acceptedAnswer|accepted_answer|is-solution|best-answer|bestanswer|solved-answer|message--solution",
    re.I,
)
_NUMBER = re.compile(r"[-−+]?\d[\d,]*(?:\.\d+)?[kK]?")
_SURE = (  # no blog or shop has these
    r"question|answer|topic-post|postbit|postbitlegacy|postcontainer|message--post|post_wrapper|cPost|ipsComment|CommentPost|topic-body crawler-post|"
    r"bbp-reply|post has-profile|post bg[12]|post classic"
)
_CERTAIN = re.compile(rf"(?:^| )({_SURE})(?: |$)")
_MAX_POSTS = 1_000
_MAX_NESTING = 4  # times that an element is read, on average, where posts stand in posts


@dataclass(frozen=True)
class Post:
    """author: empty where the page names none; score: votes or likes; accepted: the marked answer; text: Markdown."""

    author: str
    score: int | None
    accepted: bool
    text: str


def posts_of(page: Page) -> list[Post]:
    """The posts of a thread in the page's order; none for any other page. Reads the page, changes nothing."""
    roots = _roots(page)
    if len(roots) < 2:
        return []
    posts, left = [], _MAX_NESTING * len(page.elements)
    for index, element in roots[:_MAX_POSTS]:
        left -= page.ends[index] - index
        if left >= 0:
            posts.append(_post(page, index, element))
    posts = [post for post in posts if post.text]
    return posts if len(posts) >= 2 else []


def may_have_bodies(page: Page, names: Iterable[str]) -> bool:
    """Whether it is worth while to look for bodies_of. names: classes in the page."""
    joined = "\n".join(set(names))
    if re.search(rf"(?:^|[ \n])(?:{_SURE})(?:[ \n]|$)", joined):
        return True
    return "itemtype=" in page.html and bool(_ITEM_TYPES.search(page.html) or _POST.search(joined.replace("\n", " ")))


def bodies_of(page: Page) -> list[int]:
    """Places in Page.elements of the texts of posts and comments, where the markup leaves no doubt that this is a thread."""
    roots = [(i, e) for i, e in _roots(page) if _CERTAIN.search(e.attrs.get("class", "")) or "itemtype" in e.written]
    if len(roots) < 2:
        return []
    inside, found = set(), []
    wanted = {i for i, _ in roots}
    for i, element in enumerate(page.elements):
        if i in wanted or element.parent_index in inside:
            inside.add(i)
            if element.written and ("class=" in element.written or "itemprop=" in element.written):
                if _is_body(element.written):
                    found.append(i)
    return found


@lru_cache(maxsize=16384)
def _is_body(written: str) -> bool:
    attrs = parse_attributes(written)
    return bool(_BODY.search(attrs.get("class", ""))) or attrs.get("itemprop", "") in ("text", "articleBody")


@lru_cache(maxsize=16384)
def _post_class(written: str) -> str:
    match = _POST.search(parse_attributes(written).get("class", ""))
    return match[1] if match else ""


def _roots(page: Page) -> list[tuple[int, Element]]:
    """The outermost elements that are posts, by microdata where the page has it, else by the most frequent class."""
    typed, by_class = [], {}
    for index, element in enumerate(page.elements):
        if not element.written:
            continue
        if "itemtype" in element.written and _ITEM_TYPES.search(element.attrs.get("itemtype", "")):
            typed.append((index, element))
        elif "class=" in element.written and element.tag in ("div", "li", "article", "table", "tr", "section"):
            name = _post_class(element.written)
            if name:
                by_class.setdefault(name, []).append((index, element))
    answers = by_class.get("question", []) + by_class.get("answer", [])
    if len(answers) >= 2:
        return sorted(answers, key=lambda pair: pair[0])
    if len(typed) >= 2:
        return [
            pair for pair in typed if _ITEM_TYPES.search(pair[1].attrs["itemtype"])[1] != "Comment" or len(typed) == 2
        ] or typed
    best = max(by_class.values(), key=len, default=[])
    inside = {index for index, _ in best}
    return [(i, e) for i, e in best if e.parent_index not in inside]


def _post(page: Page, index: int, root: Element) -> Post:
    body = None
    score, accepted = None, bool(_ACCEPTED.search(root.written))
    author_text = root.attrs.get("data-author", "") or root.attrs.get("data-username", "")
    if re.fullmatch(r"-?\d+", root.attrs.get("data-score", "")):
        score = int(root.attrs["data-score"])
    for element in root.descendants():
        if not element.written:
            continue
        attrs = element.attrs
        classes, prop = attrs.get("class", ""), attrs.get("itemprop", "")
        if body is None and (prop in ("text", "articleBody") or _BODY.search(classes)):
            body = element
        if (
            not author_text
            and (prop == "author" or _AUTHOR.search(classes))
            and 'itemprop="author"' not in root.written
        ):
            name = _name(element)
            if name:
                author_text = name
        if score is None and (prop in ("upvoteCount", "userInteractionCount") or _SCORE.search(classes)):
            score = _number(attrs.get("data-value") or attrs.get("content") or element.text())
        accepted = (
            accepted
            or prop == "acceptedAnswer"
            or bool(_ACCEPTED.search(classes) and "d-none" not in classes and attrs.get("style", "") == "")
        )
    text = to_markdown(body if body is not None else root).strip()
    return Post(author_text[:80], score, accepted, text)


def _name(element: Element) -> str:
    """The name in an author's element: that of its first link or itemprop, else its own short text."""
    for inner in element.descendants():
        if inner.attrs.get("itemprop") == "name" or (inner.tag == "a" and inner.text().strip()):
            return " ".join((inner.attrs.get("content") or inner.text()).split())
    text = " ".join(element.text().split())
    return text if len(text) <= 60 else ""


def _number(text: str) -> int | None:
    match = _NUMBER.search(text or "")
    if match is None:
        return None
    digits = match[0].replace(",", "").replace("−", "-")
    return int(float(digits[:-1]) * 1000) if digits[-1] in "kK" else int(float(digits))

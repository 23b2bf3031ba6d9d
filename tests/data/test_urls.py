"""One spelling for each URL, one document for each page."""

import random

import pytest

from openmimo.data.document import Document
from openmimo.data.overlap import urls
from openmimo.data.overlap.urls import canonical_url, dedup_urls, url_key
from openmimo.errors import UserError


@pytest.mark.parametrize(
    "url, canonical",
    [
        ("HTTP://Example.COM:80/", "http://example.com"),
        ("https://user:pw@example.com.:443/a/", "https://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("http://example.com/a/./b/../c/?", "http://example.com/a/c"),
        ("http://example.com/../../a", "http://example.com/a"),
        ("http://example.com/%7euser/caf%c3%a9", "http://example.com/~user/caf%C3%A9"),
        ("http://example.com/café", "http://example.com/caf%C3%A9"),
        ("http://example.com/a%2Fb", "http://example.com/a%2Fb"),
        ("http://e.com/?utm_source=x&b=2&a=1&fbclid=y&b=1", "http://e.com?a=1&b=2&b=1"),
        ("http://e.com/a;jsessionid=1F?PHPSESSID=2&q=", "http://e.com/a?q="),
        ("http://e.com/?q=a+b", "http://e.com?q=a+b"),
        ("http://e.com/?q=a%20b", "http://e.com?q=a+b"),
        ("http://e.com/?q=%E9", "http://e.com?q=%E9"),
        ("http://e.com/?q=é", "http://e.com?q=%C3%A9"),
        ("http://e.com/a#top", "http://e.com/a"),
        ("http://e.com/#!/page", "http://e.com#!/page"),
        ("http://Bücher.example/", "http://xn--bcher-kva.example"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("https://web.archive.org/web/2020/http://e.com/a", "https://web.archive.org/web/2020/http://e.com/a"),
    ],
)
def test_canonical_url(url, canonical):
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical  # a second time changes nothing


def test_the_short_way_of_plain_urls_gives_the_same():
    """Random URLs from pieces that are plain or nearly so; both ways meet on many of them."""
    rng, plain = random.Random(0), 0
    parts = [
        "",
        "a",
        "A-b",
        "..",
        ".",
        ".x",
        "x.",
        "a.html",
        "~u",
        "%61",
        "%C3%A9",
        "a%E9",
        "%c3",
        "é",
        "a b",
        "a;b",
        "index.php",
        "2024",
        "_",
    ]
    pairs = [
        "a=1",
        "b=",
        "c",
        "utm_source=x",
        "a=%20",
        "a=b+c",
        "A=2",
        "fbclid=",
        "q=a.b",
        "=",
        "a==1",
        "sid=1",
        "_ga=2",
    ]
    for _ in range(20_000):
        host = rng.choice(
            ["e.com", "e.com", "a.b-c.org", "E.com", "e.com.", "e.com:80", "localhost", "1.2.3.4", "u@e.com", "e..com"]
        )
        url = f"http{rng.choice(['', 's'])}://{host}" + "".join(
            "/" + rng.choice(parts) for _ in range(rng.randrange(5))
        )
        url += rng.choice(["", "/", "?"]) + rng.choice(
            ["", "?" + "&".join(rng.choices(pairs, k=rng.randint(1, 4))), "#x"]
        )
        plain += urls._PLAIN.fullmatch(url) is not None
        assert canonical_url(url) == urls._canonical(url), url
    assert 1_000 < plain < 18_000


@pytest.mark.parametrize(
    "url",
    ["", "page.html", "http://", "http://[::1/a", "http://e.com:port/", "//e.com/a", "http://" + "ü" * 70 + ".de"],
)
def test_a_malformed_url_is_an_error_that_shows_it(url):
    with pytest.raises(UserError, match="give an absolute URL"):
        canonical_url(url)


def test_different_pages_stay_different():
    pages = [
        "http://e.com/a",
        "http://e.com/A",
        "http://e.com/a?p=1",
        "http://e.com/a?p=2",
        "http://f.com/a",
        "http://e.com/a/b",
    ]
    assert len({url_key(page) for page in pages}) == len(pages)
    assert url_key("http://e.com/a") == url_key("https://e.com/a/")


def test_dedup_keeps_the_longest_text_and_counts():
    def page(id, url, text):
        return Document(id, url, "", text, "s")

    documents = [
        page("1", "http://e.com/a", "short"),
        page("2", "https://e.com/a/?utm_source=x", "the longest"),
        page("3", "", "no url"),
        page("4", "", "no url"),
        page("5", "not a url", "x"),
        page("6", "not a url", "x"),
    ]
    kept, counts = dedup_urls(documents)
    assert [d.id for d in kept] == ["2", "3", "4", "5"]
    assert counts == {"kept": 4, "dropped, same URL": 2, "kept without a URL": 2, "malformed URL": 2}
    reverse, _ = dedup_urls(documents[::-1])
    assert {d.id for d in reverse} == {d.id for d in kept}

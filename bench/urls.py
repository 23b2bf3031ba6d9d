"""Canonical URLs: ours beside courlan and ada-url, on pairs of spellings that are one page and pairs that are two; speed.

    python -m pip install --target .bench/urls courlan ada-url can-ada      # once
    python bench/urls.py                                                    # about 20 s

`same`: pairs that should share a key; `apart`: pairs that must not. A library that fails on a URL counts as wrong. Speed: 20,000
URLs of the kinds that a crawl has, one thread, the sides in turn, the median of 5. Prints a table and each side's mistakes;
the last line is JSON.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from pathlib import Path

from openmimo.data.overlap.urls import url_key

SAME = """
http://example.com HTTP://EXAMPLE.com:80/
http://example.com/a https://example.com/a
http://example.com/a http://example.com/a/
http://example.com/a http://example.com/a#top
http://example.com/a http://example.com/a?
http://example.com/a http://example.com./a
http://example.com/a http://user:pw@example.com/a
http://example.com/a/b http://example.com/a/./x/../b
http://example.com/a http://example.com/../../a
http://example.com/a http://example.com/%61
http://example.com/~u http://example.com/%7Eu
http://example.com/caf%C3%A9 http://example.com/caf%c3%a9
http://example.com/caf%C3%A9 http://example.com/café
http://bücher.example/ http://xn--bcher-kva.example/
http://BÜCHER.example/ http://xn--bcher-kva.example/
http://e.com/?a=1&b=2 http://e.com/?b=2&a=1
http://e.com/a http://e.com/a?utm_source=x&utm_medium=y
http://e.com/a?id=3 http://e.com/a?id=3&fbclid=abc
http://e.com/a http://e.com/a?gclid=1&msclkid=2
http://e.com/a http://e.com/a;jsessionid=AF12
http://e.com/a http://e.com/a?PHPSESSID=1f2e
http://e.com/a http://e.com/a?mc_cid=1&mc_eid=2
http://e.com/a http://e.com/a?_ga=1.2.3
http://e.com/?q=a+b http://e.com/?q=a%20b
http://e.com/?q=%e9 http://e.com/?q=%E9
http://[::1]:80/a http://[::1]/a
https://e.com:443/a https://e.com/a
""".split()
APART = """
http://example.com/a http://example.com/b
http://example.com/a http://example.com/A
http://example.com/a http://example.org/a
http://example.com/a http://www2.example.com/a
http://example.com/a http://example.com:8080/a
http://example.com/a?p=1 http://example.com/a?p=2
http://example.com/a?p=1 http://example.com/a
http://example.com/a%2Fb http://example.com/a/b
http://example.com/a%3Fb http://example.com/a?b
http://example.com/?q=a%26b http://example.com/?q=a&b
http://example.com/?q=a%2Bb http://example.com/?q=a+b
http://example.com/#!/one http://example.com/#!/two
http://example.com/?q=%E9 http://example.com/?q=%C3%A9
http://example.com/index.php?title=A http://example.com/index.php?title=B
http://example.com/t?page=2 http://example.com/t?page=3
http://example.com/t?lang=en http://example.com/t?lang=de
http://example.com/t?session=spring http://example.com/t?session=autumn
http://example.com/t?ref=chapter1 http://example.com/t?ref=chapter2
http://example.com/t?source=a http://example.com/t?source=b
http://example.com/a//b http://example.com/a/b
http://web.archive.org/web/2020/http://e.com/a http://web.archive.org/web/2020/http://e.com/b
http://example.com/%E6%97%A5 http://example.com/%E6%9C%AC
http://a.example.com/ http://b.example.com/
""".split()


def sides() -> dict:
    sys.path.append(str(Path(__file__).resolve().parents[1] / ".bench" / "urls"))
    found = {"ours": url_key}
    try:
        import courlan

        found["courlan.normalize_url(strict)"] = lambda url: courlan.normalize_url(url, strict=True)
        found["courlan.clean_url"] = courlan.clean_url
    except ImportError:
        pass
    try:
        import ada_url

        found["ada_url.normalize_url"] = ada_url.normalize_url
    except ImportError:
        pass
    try:
        import can_ada

        found["can_ada.parse"] = lambda url: can_ada.parse(url).href
    except ImportError:
        pass
    return found


def mistakes(key) -> list[str]:
    def of(url):
        try:
            return key(url)
        except Exception:
            return None

    wrong = []
    for pairs, same in ((SAME, True), (APART, False)):
        for one, two in zip(pairs[::2], pairs[1::2], strict=True):
            a, b = of(one), of(two)
            if a is None or b is None or (a == b) is not same:
                wrong.append(f"{'not joined' if same else 'joined'}: {one} {two}")
    return wrong


def crawl(count: int) -> list[str]:
    rng, urls = random.Random(0), []
    for i in range(count):
        path = "/".join(rng.choice(("2024", "blog", "docs", "wiki", "a-long-title-of-a-post", "index.html", "Caf%C3%A9", "q_1")) for _ in range(rng.randint(1, 5)))  # fmt: skip
        query = rng.choice(("", "", "", f"?id={i}", "?p=2&utm_source=rss", "?q=a%20b&sort=new"))
        urls.append(
            f"http{'s' * rng.randint(0, 1)}://www.site{rng.randrange(900)}.example.com/{path}{'/' * rng.randint(0, 1)}{query}"
        )
    return urls


def main() -> None:
    urls, times, wrong = crawl(20_000), {}, {name: mistakes(key) for name, key in sides().items()}
    for _ in range(5):
        for name, key in sides().items():
            began = time.perf_counter()
            for url in urls:
                key(url)
            times.setdefault(name, []).append(len(urls) / (time.perf_counter() - began))
    total, rows = len(SAME) // 2 + len(APART) // 2, {}
    for name, found in wrong.items():
        rate = statistics.median(times[name])
        print(f"{name:32}{rate:10,.0f} URLs/s   {total - len(found)} of {total} pairs right")
        for line in found:
            print(f"    {line}")
        rows[name] = {"urls_s": round(rate), "right": total - len(found), "of": total}
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()

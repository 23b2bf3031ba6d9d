"""Bytes of a page -> text, whatever charset it declares or forgets to declare [R 2.1].

    python -c "from openmimo.data.extract.charsets import decode_html; print(decode_html('<p>Привет, мир, это текст'.encode('cp1251')))"

Order: byte order mark, UTF-8 where it fits, the declared charset (HTTP's, then the page's), then a guess among the charsets that
pages without a declaration are written in. Undecodable bytes become U+FFFD, as in browsers.
"""

from __future__ import annotations

import codecs
import re

from openmimo.data.extract.html_limits import MAX_CHARACTERS
from openmimo.errors import UserError

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_META_CHARSET = re.compile(
    rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})|<\?xml[^>]{0,100}encoding=["']([\w.:-]{2,40})""", re.I
)
_AS_BROWSERS_DO = {
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252",
    "us-ascii": "cp1252", "x-sjis": "cp932", "shift_jis": "cp932", "shift-jis": "cp932", "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "windows-31j": "cp932",
    "x-euc-jp": "euc_jp", "big5-hkscs": "big5hkscs", "iso-8859-9": "cp1254", "tis-620": "cp874", "x-mac-cyrillic": "mac_cyrillic", "utf8": "utf-8",
}  # fmt: skip
_NO_TEXT = frozenset(["base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape"])  # fmt: skip
_GUESSES = {  # charset -> what is common in its texts
    "gb18030": "的一是不了在人有我他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天而能好都然没日于起还发成事只作当想看文无开手十用主行方又如前所本见经头面公同三已老从动两长",
    "cp932": "のにはをたがでてとしれさあるいもなっりからこまうそよおすだけえつきじくわられんーアイルンスト",
    "euc_jp": "のにはをたがでてとしれさあるいもなっりからこまうそよおすだけえつきじくわられんーアイルンスト",
    "cp949": "이다에는을의가고하로한를도지서은나사자기인리어라시그아대일스들",
    "big5": "的一是不了在人有我他這中大來上國個到說們為子和你地出道也時年得就那要下以生會自",
    "cp1251": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщ",
    "koi8_r": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщ",
}
_NEAR = 100_000  # bytes that are looked at around the first that is not UTF-8
_SAMPLE = 20_000  # bytes that are not ASCII


def decode_html(data: bytes, where: str = "page", charset: str | None = None) -> str:
    """Text of a page's bytes. charset: what HTTP declared. Binary data is a UserError that names `where`."""
    data = data[:MAX_CHARACTERS]
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, "replace")
    if b"\0" in data[:4096]:
        raise UserError(f"{where}: binary data, not HTML (it has NUL bytes); give an HTML file, or convert it first")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        start = max(error.start - 1_000, 0)
    near = data[start : start + _NEAR]
    wrong = near.decode("utf-8", "replace").count("\ufffd") - near.count(b"\xef\xbf\xbd")
    if wrong * 20 < len(re.findall(rb"[\xc2-\xf4][\x80-\xbf]", near)):  # a cut or a slip, not another charset
        return data.decode("utf-8", "replace")
    match = _META_CHARSET.search(data[:4096])
    declared = [charset] if charset else []
    declared += [(match[1] or match[2]).decode("ascii")] if match else []
    for name in declared:
        encoding = _codec(name)
        if encoding and encoding != "utf-8":
            return data.decode(encoding, "replace")
    return data.decode(_guess(data), "replace")


def _codec(name: str) -> str | None:
    """Python's name of a charset of text; None for one that it does not know."""
    name = _AS_BROWSERS_DO.get(name.strip().lower(), name.strip())
    try:
        encoding = codecs.lookup(name).name
    except (LookupError, ValueError, UnicodeError):
        return None
    return (
        None
        if encoding.replace("-", "_") in _NO_TEXT
        or encoding in ("base64", "bz2", "hex", "quopri", "rot13", "uu", "zlib")
        else encoding
    )


def _guess(data: bytes) -> str:
    """The charset under which most characters are common ones of its language; windows-1252 where none is convincing."""
    sample = b" ".join(re.findall(rb"[\x80-\xff][\x21-\xff]*", data[:400_000]))[:_SAMPLE]
    best, best_score = "cp1252", 0.5
    for encoding, common in _GUESSES.items():
        text = [c for c in sample.decode(encoding, "replace") if c > "\x7f"]
        if len(text) < 8:
            continue
        wrong = text.count("\ufffd") / len(text)
        score = sum(c in common for c in text) / len(text) - 5 * wrong
        if encoding in ("cp1251", "koi8_r"):
            runs = len(re.findall(rb"[\x80-\xff]+", sample))  # accents stand alone, Cyrillic words do not
            score = score * 0.9 if score > 0.6 and len(text) > 2.5 * runs else 0
        else:
            score = score * 2.2
        if score > best_score:
            best, best_score = encoding, score
    return best

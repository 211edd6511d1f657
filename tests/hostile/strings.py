"""Strings that data sets could hold: as categories, labels, options, ids, answers, names of files."""

from __future__ import annotations

import random

__all__ = ["FIXED", "hostile", "pictured"]

FIXED = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></tr></table><h1>mine</h1>",
    "</figcaption></figure><iframe src=//x></iframe>",
    "<!-- <b>",
    "]]></style><b>",
    "&lt;script&gt; &amp;lt; &#60;b&#62;",
    "{{7*7}} {% raw %} ${7*7} #{7*7} <%= 7*7 %>",
    "{} {0} {x!r} %s %(x)s {:.1f}",
    r"$\href{javascript:alert(1)}{x}$ \(x^2\) \[y\] $$z$$",
    "`code` ```{raw} html``` **bold** _it_ [a](javascript:alert(1)) <http://x>",
    "'] + alert(1) + ['",
    '"} : alert(1) //',
    "datum.mean; a.b[0] 'c'",
    "constructor",
    "__proto__",
    "toString",
    "a:N, sum(b):Q",
    "one: two: three",
    "x\u202eesrever\u202c",
    "\u200f\u05e9\u05dc\u05d5\u05dd\u200e",
    "nothing\x00after",
    "\x1b[31mred\x1b[0m \x07\x08\x7f",
    "half \ud800 of a pair",
    "\ufeffmark",
    "line\u2028separator\u2029paragraph",
    "two\nlines\r\nand\ta tab",
    "👩‍👩‍👧‍👦🏳️‍🌈 ﷽ e\u0301\u0323",
    "z̴̡̛͓̦a̷̧͎l̸̨g̵o̶",
    "wide " * 400,
    "W" * 6000,
    "\\",
    "\\u003cscript>",
    "'",
    '"',
    " ",
    "  led and trailed  ",
    "NaN",
    "None",
    "null",
    "true",
    "007",
    "1e5",
    "2020-01-01",
    "=cmd|'/C calc'!A0",
    "../../etc/passwd",
    "↛↮↛",
    "\N{MINUS SIGN}∞",
)
PIECES = (*FIXED[:31], "<", ">", "&", '"', "'", "`", "$", "\\", "/", "{", "}", "\x00", "\ud83d", "😀", "é", "ab", " ")


def hostile(rng: random.Random) -> str:
    """One of the strings above, a piece of one, or a few joined together."""
    match rng.randrange(4):
        case 0:
            return "".join(rng.choices(PIECES, k=rng.randint(1, 4)))
        case 1:
            text = rng.choice(FIXED)
            return text[rng.randrange(len(text)) :][:200]
        case _:
            return rng.choice(FIXED)


def pictured(text: str) -> str:
    """What a page shows of a text: control characters and odd ends of lines as pictures, half a surrogate pair as �."""

    def shown(character: str) -> str:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            return "\ufffd"
        if code < 32 and character not in "\n\r\t":
            return chr(0x2400 + code)
        return {"\x7f": "\u2421", "\x85": "\u2424", "\u2028": "\u2424", "\u2029": "\u2424"}.get(character, character)

    return "".join(map(shown, text))

"""Text that comes from data, made safe for a page: it can be read there, and does nothing else.

1. The characters of HTML are escaped, so that no text becomes an element or leaves its attribute;
2. control characters become their pictures (␀ for NUL), in charts too, whose expressions some of them would break; half
   a surrogate pair, which no file can hold, becomes �;
3. in a chart, a name that every object of JavaScript has, such as ``constructor``, gets an end that is not seen: Vega
   finds that other thing in place of the name;
4. an element of the class `VERBATIM` is passed over by what looks for formulas in a page: ``$5 and $6`` is no formula.
"""

from __future__ import annotations

import html
import json

__all__ = ["VERBATIM", "escaped", "inert_json", "visible"]

VERBATIM = "tex2jax_ignore mathjax_ignore"  # MathJax 2 and 3
INHERITED = {
    *(
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
    ),
    *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__"),
}
UNSEEN = "\N{WORD JOINER}"
PICTURES = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n\r"} | {0x7F: "␡"}
PICTURES |= dict.fromkeys((0x85, 0x2028, 0x2029), "␤")  # other characters for a new line
PICTURES |= dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")


def visible(text: object) -> str:
    """The text with nothing in it that cannot be seen or saved (step 2)."""
    return str(text).translate(PICTURES)


def escaped(text: object) -> str:
    """The text for an element or for a quoted attribute (steps 1 and 2)."""
    return html.escape(visible(text))


def inert_json(value: object) -> str:
    """A chart's value as JSON that can stand in a script element: no tag begins in it (steps 2 and 3).

    Raises:
        ValueError: If it holds NaN or an infinity, which are not JSON.
    """
    return json.dumps(_drawable(value), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _drawable(value: object) -> object:
    match value:
        case str():
            return value + UNSEEN if value in INHERITED else visible(value)
        case dict():
            return {visible(key): _drawable(item) for key, item in value.items()}
        case list() | tuple():
            return [_drawable(item) for item in value]
    return value

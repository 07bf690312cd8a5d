"""What an agent, a node or a file may write where a name, a version or a reason belongs: one list for every outlet."""

from html.parser import HTMLParser

HOSTILE = {
    "clears the screen": "\x1b[2J\x1b[1;1Hall is well",
    "names the window": "\x1b]0;owned\x07",
    "fills the clipboard": "\x1b]52;c;cm0gLXJmIC8K\x07",
    "8-bit control sequence": "\x9b2J\x9d0;owned\x9c",
    "backspaces": "bad\x08\x08\x08good",
    "runs backwards": "\u202egnp.exe\u2066 \u200f\u061c",
    "a line of its own": "x\n2026-01-01T00:00:00Z [error] forged  fleet=etl",
    "carriage return": "unreachable\rserving    ",
    "a line to some": "a\u2028b\u2029c\x85d\x0be\x0cf",
    "markup": "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">",
    "leaves an attribute": "\"'><svg onload=alert(1)>&lt;",
    "a series of its own": 'x"} 1\nmatillion_fleet_demand_tasks{namespace="matillion",fleet="etl"} 0\n#',
    "a document of its own": '"}],"fleets":[{"demand_tasks":0}],"x":[{"y":"\\',
    "formats": "%s %(x)s {} {0.__class__} {{7*7}} ${jndi:ldap://x/y} $(reboot) `reboot`",
    "null": "a\0b",
    "no Unicode": "\ud800 \udcff",
    "nothing to see": "\u200b\ufeff\u2060",
    "blank": " \t\xa0\u3000",
    "a megabyte": "A" * 1_000_000,
}
"""By what each attempts."""

SHORT = {kind: text for kind, text in HOSTILE.items() if len(text) < 1000}
"""What is longer does not come in."""

OBEYED = frozenset("\r\x00\x07\x08\x1b\x7f\x85\x9b\x9c\x9d\x0b\x0c\u2028\u2029\u202e\u2066\u200f\u061c\ud800\udcff")
"""Characters that a terminal, a browser's text or a reader of lines obeys, of all texts above but the line feed."""


class Tags(HTMLParser):
    """Collects the elements of a page with the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one."""
        self.found.append((tag, tuple(key for key, _ in attrs)))


def tags(page: str) -> list[tuple[str, tuple[str, ...]]]:
    """Return the elements of a page."""
    parser = Tags()
    parser.feed(page)
    parser.close()
    return parser.found

"""How long templates take: an ordinary one, and those that spend the whole limit of work.

Run `python -m bench.templates`. What a template may do is bounded in counted steps, since rendering has no clock; this tells
what that bound comes to in seconds here.
"""

import time

from posthorn.templating import Dialect, Escape, TemplateRenderFailed, compile_template

_ORDINARY = '{"text": "Thank {{ event.user }} for {{ event.data.total }}"}'
_OVER_AND_OVER = "{% for i in (1..10000) %}{% for j in (1..100) %}BODY{% endfor %}{% endfor %}"
_BODIES = {
    "print": "{{ j }}",
    "reckon": "{% assign a = j | plus: i | times: 3 %}",
    "cycle": "{% cycle 'a', 'b', 'c' %}",
    "date": "{{ event.data.at | date: '%Y-%m-%d %H:%M:%S %z %A %B' }}",
    "time zone": "{% assign a = event.data.at | time_zone: 'America/Los_Angeles' | date: '%Z' %}",
    "sort": "{% assign a = event.data.rows | sort: 'b' %}",
    "uniq": "{% assign a = event.data.rows | uniq %}",
    "join": "{% assign a = event.data.rows | join: ',' %}",
    "json": "{% assign a = event.data.rows | json %}",
    "json_parse": "{% assign a = event.data.json | json_parse %}",
    "hmac": "{% assign a = 'x' | hmac_sha512_hex: 'k' %}",
    "md5": "{% assign a = event.data.text | md5 %}",
    "split": "{% assign a = event.data.text | split: '' %}",
    "squish": "{% assign a = event.data.text | squish %}",
    "strip_html": "{% assign a = event.data.html | strip_html %}",
    "escape": "{% assign a = event.data.html | escape | escape_once %}",
    "capture": "{% capture c %}{{ event.data.text }}{% endcapture %}",
    "contains": "{% if event.data.text contains 'zz' %}{% endif %}",
    "equal": "{% if event.data.rows == event.data.rows %}{% endif %}",
}
_FACTS = {
    "event": {
        "user": "ann",
        "data": {
            "total": 12,
            "at": "2026-03-01T10:20:30+02:00",
            "rows": [{"a": number % 7, "b": "t" * 20} for number in range(20_000)],
            "text": "x y " * 250_000,
            "html": "<b>" * 50_000,
            "json": "[" + "1," * 100_000 + "1]",
        },
    }
}
_ROUNDS = 10_000


def main() -> None:
    """Measure and print, the slowest first."""
    template = compile_template(_ORDINARY, escape="json")
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        template.render(_FACTS)
    print(f"an ordinary one: {(time.perf_counter() - begun) / _ROUNDS * 1e6:.0f} us")
    found = []
    for dialect in ("liquid", "braze"):
        for escape in ("none", "json"):
            found += [(_seconds(body, escape, dialect), name, dialect, escape) for name, body in _BODIES.items()]
    for seconds, name, dialect, escape in sorted(found, reverse=True):
        print(f"{seconds:6.2f} s  {name}, {dialect}, {escape}")


def _seconds(body: str, escape: Escape, dialect: Dialect) -> float:
    template = compile_template(_OVER_AND_OVER.replace("BODY", body), escape=escape, dialect=dialect)
    begun = time.perf_counter()
    try:
        template.render(_FACTS)
    except TemplateRenderFailed:
        return time.perf_counter() - begun
    raise RuntimeError(f"'{body}' stayed within the limit, and should not")


if __name__ == "__main__":
    main()

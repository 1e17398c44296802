"""The filters of Braze and Shopify, with the examples of Shopify's own pages where they have one."""

import pytest

from posthorn.templating import Dialect, TemplateRenderFailed, compile_template

FACTS = {
    "event": {
        "data": {
            "fruits": ["apples", "oranges"],
            "lines": "\nHello\nthere\r\n",
            "rain": "I strained to see the train through the rain",
            "helmet": "Take my protein pills and put my helmet on",
            "tom": "Ground control to Major Tom.",
        }
    }
}

VECTORS = [
    ("-17 | abs", "17"),
    ("4 | abs", "4"),
    ("'-19.86' | abs", "19.86"),
    ("4 | at_least: 5", "5"),
    ("4 | at_least: 3", "4"),
    ("4 | at_most: 5", "4"),
    ("4 | at_most: 3", "3"),
    ("1.2 | ceil", "2"),
    ("2.0 | ceil", "2"),
    ("183.357 | ceil", "184"),
    ("'3.5' | ceil", "4"),
    ("1.2 | floor", "1"),
    ("2.0 | floor", "2"),
    ("183.357 | floor", "183"),
    ("'3.5' | floor", "3"),
    ("3 | modulo: 2", "1"),
    ("24 | modulo: 7", "3"),
    ("183.357 | modulo: 12", "3.357"),
    ("-7 | modulo: 3", "2"),  # as in Ruby: the sign is that of the divisor
    ("'carrots, turnips' | split: ', ' | concat: event.data.fruits | join: '+'", "carrots+turnips+apples+oranges"),
    ("event.data.fruits | concat: event.data.fruits | size", "4"),
    ("event.data.lines | newline_to_br", "<br />\nHello<br />\nthere<br />\n"),
    ("event.data.lines | strip_newlines", "Hellothere"),
    ("'apples, oranges, and bananas' | prepend: 'Some fruit: '", "Some fruit: apples, oranges, and bananas"),
    ("event.data.rain | remove_first: 'rain'", "I sted to see the train through the rain"),
    ("event.data.rain | remove_first: 'snow' | size", "44"),
    ("event.data.helmet | replace_first: 'my', 'your'", "Take your protein pills and put my helmet on"),
    ("event.data.tom | truncatewords: 3", "Ground control to..."),
    ("event.data.tom | truncatewords: 3, '--'", "Ground control to--"),
    ("event.data.tom | truncatewords: 3, ''", "Ground control to"),
    ("event.data.tom | truncatewords: '2'", "Ground control..."),
    ("event.data.tom | truncatewords: 5", "Ground control to Major Tom."),
    ("event.data.tom | truncatewords: 0", "Ground..."),
    ("event.data.tom | truncate: 20", "Ground control to..."),
    ("event.data.tom | truncate: 28", "Ground control to Major Tom."),
    ("event.data.tom | truncate: 25, ', and so on'", "Ground control, and so on"),
    ("event.data.tom | truncate: 20, ''", "Ground control to Ma"),
    ("event.data.tom | truncate: 2", "..."),
    ("event.data.tom | truncatewords: 99999999999999999999", "Ground control to Major Tom."),
]


@pytest.mark.parametrize("dialect", ["liquid", "braze"])
@pytest.mark.parametrize(("expression", "expected"), VECTORS)
def test_a_filter_prints_what_the_page_about_it_says(expression: str, expected: str, dialect: Dialect) -> None:
    template = compile_template(f"{{{{ {expression} }}}}", escape="none", dialect=dialect)
    assert template.render(FACTS) == expected


def test_to_a_filter_of_arrays_nil_is_an_empty_array_in_braze() -> None:
    text = "{{custom_attribute.${nope} | concat: event_properties.${fruits} | join: '+'}}"
    assert compile_template(text, escape="none", dialect="braze").render(FACTS) == "apples+oranges"


@pytest.mark.parametrize("expression", ["7 | modulo: 0", "event.data.fruits | concat: 'x'"])
def test_what_a_filter_cannot_do_is_a_failure(expression: str) -> None:
    with pytest.raises(TemplateRenderFailed, match="cannot be applied"):
        compile_template(f"{{{{ {expression} }}}}", escape="none", dialect="braze").render(FACTS)

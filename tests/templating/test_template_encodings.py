"""Filters beyond Shopify's: digests, signatures, encodings, time zones. Golden results are the vendors' own."""

import json

import pytest

from posthorn.templating import Masked, TemplateRenderFailed, compile_template

FACTS = {"now": "2021-08-04T09:00:00.123456Z", "profile": {"timeZone": "America/Los_Angeles"}, "event": {"n": 5}}

BOTH = ["liquid", "braze"]


def render(text: str, dialect: str = "liquid", escape: str = "none", **facts: object) -> str:
    return compile_template(text, escape=escape, dialect=dialect).render({**FACTS, **facts})


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # Braze, "Advanced filters".
        ("'hey' | md5", "6057f13c496ecf7fd777ceb9e79ae285"),
        ("'hey' | sha1", "7f550a9f4c44173a37664d938f1355f0f92a47a7"),
        ("'hey' | sha2", "fa690b82061edfd2852629aeba8a8977b57e40fcb77d1a7a28b26cba62591204"),
        ("'blah' | base64_encode", "YmxhaA=="),
        ("'hey' | hmac_sha1_hex: 'secret_key'", "2a3969bed25bfeefb00aca4063eb9590b4df8f0e"),
        ("'hey' | hmac_sha1: 'secret_key'", "2a3969bed25bfeefb00aca4063eb9590b4df8f0e"),
        ("'hey' | hmac_sha1_base64: 'secret_key'", "KjlpvtJb/u+wCspAY+uVkLTfjw4="),
        (
            "'hey' | hmac_sha256_hex: 'secret_key'",
            "8df897f8da3d7992fe57c8dbc6f27578cfbf2dcc4d0fbb4000b8c924841d508e",
        ),
        ("'hey' | hmac_sha256: 'secret_key'", "8df897f8da3d7992fe57c8dbc6f27578cfbf2dcc4d0fbb4000b8c924841d508e"),
        ("'hey' | hmac_sha256_base64: 'secret_key'", "jfiX+No9eZL+V8jbxvJ1eM+/LcxND7tAALjJJIQdUI4="),
        ("'hey<>hi' | url_escape", "hey%3C%3Ehi"),
        ("'hey<&>hi' | url_param_escape", "hey%3C%26%3Ehi"),
        ("'google search' | url_encode", "google+search"),
        ("123456 | number_with_delimiter", "123,456"),
        ("15 | divided_by: 2", "7"),
        ("15 | divided_by: 2.0", "7.5"),
        ("145 | money", "145.00"),
        ("17.8 | money", "17.80"),
        ("'350000.25' | plus: 0 | money", "350000.25"),
        # RFC 4231, test case 2.
        (
            "'what do ya want for nothing?' | hmac_sha512: 'Jefe'",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        ("'what do ya want for nothing?' | hmac_sha512_base64: 'Jefe' | slice: 0, 8", "Fkt6e/z4"),
        # FIPS 180-2, appendices B.1 and C.1.
        ("'abc' | sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("'abc' | sha512 | slice: 0, 16", "ddaf35a193617aba"),
        ("'Привет' | md5", "8a669e9418750c81ab90ae159a8ec410"),
        ("5 | md5", "e4da3b7fbbce2345d7772b0674a318d5"),
        ("nil | md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ("'hey' | hmac_sha256_hex: 5 | size", "64"),
        ("-1234567.5 | number_with_delimiter", "-1,234,567.5"),
        ("'1234' | number_with_delimiter: ' '", "1 234"),
        ("'abc' | number_with_delimiter", "abc"),
        ("'abc' | money", "abc"),
        ("2.005 | money", "2.01"),
        ("'a&b=c d' | url_escape", "a&b=c%20d"),
        ("'say \"hi\" \\' | json_escape", 'say \\"hi\\" \\\\'),
        ('\'{"a":[1,{"b":null}]}\' | json_parse | as_json_string', '{"a":[1,{"b":null}]}'),
        ("'{\"a\":42}' | json_parse | property_accessor: 'a'", "42"),
        ("'{\"a\":42}' | json_parse | property_accessor: 'b'", ""),
        ("'[7,8]' | json_parse | property_accessor: 1", "8"),
        ("'x' | property_accessor: 'size'", ""),
        ("'hello big-world' | camelize", "HelloBigWorld"),
        ("'Hello, Big World!' | handleize", "hello-big-world"),
        ("1 | pluralize: 'item', 'items'", "item"),
        ("3 | pluralize: 'item', 'items'", "items"),
        ("'  x ' | lstrip | append: '|' | rstrip", "x |"),
    ],
)
def test_a_filter_gives_the_published_result_in_both_dialects(expression: str, expected: str, dialect: str) -> None:
    assert render(f"{{{{ {expression} }}}}", dialect) == expected


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'now' | time_zone: 'America/Los_Angeles' | date: '%a %b %-d %H:%M %z'", "Wed Aug 4 02:00 -0700"),
        ("'now' | time_zone: profile.timeZone | date: '%Z'", "PDT"),
        ("'2021-12-04T09:00:00Z' | time_zone: 'America/Los_Angeles' | date: '%H'", "01"),
        ("0 | time_zone: '+05:30' | date: '%H:%M %:z'", "05:30 +05:30"),
        ("0 | time_zone: -800 | date: '%F %R'", "1969-12-31 16:00"),
        ("'now' | date: '%s.%L %N'", "1628067600.123 123456000"),
        ("'now' | date: '%s' | plus: 259200 | date: '%F'", "2021-08-07"),
    ],
)
def test_an_instant_moves_to_a_time_zone_without_the_machines_own(expression: str, expected: str, dialect: str) -> None:
    assert render(f"{{{{ {expression} }}}}", dialect) == expected


def test_a_moved_instant_prints_in_iso_8601_and_in_braze_as_ruby_prints_it() -> None:
    text = "{{ 'now' | time_zone: 'America/Los_Angeles' }}"
    assert render(text) == "2021-08-04T02:00:00.123456-07:00"
    assert render(text, "braze") == "2021-08-04 02:00:00 -0700"
    assert json.loads(render(f'{{"t": "{text}", "u": {text}}}', escape="json")) == {
        "t": "2021-08-04T02:00:00.123456-07:00",
        "u": "2021-08-04T02:00:00.123456-07:00",
    }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2021-06-03 17:13:41 UTC", "2021-06-03 17:13:41"),
        ("2021-08-04 9:00:00 UTC", "2021-08-04 09:00:00"),
        ("2021-08-04 09:00:00 -0700", "2021-08-04 16:00:00"),
        ("2023-12-20T13:00-05:00", "2023-12-20 18:00:00"),
        ("2023-12-22T24:00-05:00", "2023-12-23 05:00:00"),
        ("2019-12-01", "2019-12-01 00:00:00"),
        ("March 14, 2008", "2008-03-14 00:00:00"),
        ("Mon, 02 Jan 2006 15:04:05 GMT", "2006-01-02 15:04:05"),
        ("1628067600", "2021-08-04 09:00:00"),
    ],
)
def test_braze_reads_the_dates_that_ruby_reads(value: str, expected: str) -> None:
    text = "{{ x | time_zone: 'UTC' | date: '%F %T' }}"
    assert render(text, "braze", x=value) == expected


def test_braze_leaves_what_is_no_date_alone() -> None:
    assert (
        render("[{{ x | date: '%Y' }}{{ 'soon' | date: '%Y' }}{{ 'soon' | time_zone: 'UTC' }}]", "braze")
        == "[soonsoon]"
    )
    assert render("{{ 'now' | time_zone: nowhere | date: '%H %z' }}", "braze") == "09 +0000"
    assert render("{{ 'x' | json_parse }}", "braze") == ""


@pytest.mark.parametrize(
    "expression",
    [
        "'now' | time_zone: 'Mars/Base'",
        "'now' | time_zone: '../../etc/passwd'",
        "'soon' | time_zone: 'UTC'",
        "'{' | json_parse",
        "'NaN' | json_parse",
        "'[[[' | json_parse",
    ],
)
def test_the_default_dialect_refuses_what_it_cannot_read(expression: str) -> None:
    with pytest.raises(TemplateRenderFailed):
        render(f"{{{{ {expression} }}}}")


@pytest.mark.parametrize("dialect", BOTH)
def test_json_escape_is_not_escaped_again_between_quotes(dialect: str) -> None:
    text = '{"a": "{{ x | json_escape }}", "b": "{{ x }}", "c": {{ x | json_escape }}}'
    decoded = json.loads(render(text, dialect, "json", x='say "hi"\n\\'))
    assert decoded == dict.fromkeys("abc", 'say "hi"\n\\')


@pytest.mark.parametrize("dialect", BOTH)
def test_a_value_escaped_for_a_url_is_not_escaped_again(dialect: str) -> None:
    assert render("https://h/?q={{ x | url_param_escape }}&r={{ x }}", dialect, "url", x="a&b c") == (
        "https://h/?q=a%26b%20c&r=a%26b%20c"
    )
    for value in ("..", "a/../b"):
        with pytest.raises(TemplateRenderFailed, match="change the path"):
            render("https://h/{{ x | url_escape }}", dialect, "url", x=value)


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    "filters",
    [
        "md5",
        "hmac_sha256_base64: 'k'",
        "base64_decode",
        "slice: 0, 1",
        "date: '%Y'",
        "json_parse",
        "divided_by: 0",
        "append: 'x' | sha256 | upcase",
        "split: '' | first",
        "size",
    ],
)
def test_a_mask_passes_through_every_filter_as_it_is(filters: str, dialect: str) -> None:
    secrets = {"token": Masked("•••")}
    assert render(f"{{{{ secrets.token | {filters} }}}}", dialect, secrets=secrets).startswith("•••")
    assert "•" in render("{{ 'x' | hmac_sha256: secrets.token }}", dialect, secrets=secrets)


@pytest.mark.parametrize("dialect", BOTH)
def test_a_rendering_with_masks_is_the_same_whatever_the_secret_is(dialect: str) -> None:
    text = (
        '{"auth": "{{ \'u:\' | append: secrets.t | base64_encode }}", "sign": "{{ event.n | hmac_sha256: secrets.t }}",'
        '{% if secrets.t contains "h" %}"h": 1,{% endif %} "first": "{{ secrets.t | slice: 0 }}",'
        '"size": {{ secrets.t | size }}, "half": "{% capture c %}{{ secrets.t }}{% endcapture %}{{ c | md5 }}"}'
    )
    shown = render(text, dialect, "json", secrets={"t": Masked("•••")})
    assert json.loads(shown) == {
        "auth": "•••",
        "sign": "•••",
        "first": "•••",
        "size": "•••",
        "half": render("{{ '•••' | md5 }}"),
    }

"""The Braze dialect accepts what its authors write, and refuses the rest at their own line and column."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.templating import (
    Aborted,
    TemplateRenderFailed,
    TemplateSyntaxInvalid,
    compile_template,
    uses_secrets,
)

FACTS = {
    "event": {
        "id": "evt_1",
        "data": {"mode": "learn", "total": 145, "tags": ["a", "b", "a"], "inbound_message_body": "JOIN now"},
    },
    "user": {"id": "u1"},
    "profile": {
        "id": "u1",
        "attributes": {
            "first_name": "Anna",
            "email": "anna@example.com",
            "one": 3,
            "two": 4,
            "Brands Viewed": ["Nike", "Puma"],
            "zip code": "LV-1010",
            "address": {"city": "Riga"},
            "dotted.name": "whole",
            "obj": [{"x": 7}],
            "spaces": "  ",
            "no": False,
            "list": [],
        },
        "subscriptions": {"email": "subscribed", "grp-1": "unsubscribed"},
        "timeZone": "America/Los_Angeles",
        "locale": "pt-BR",
        "devices": [{"os": "iOS 17", "platform": "ios"}],
    },
    "automation": {"id": "aut_1", "name": "Welcome"},
    "delivery": {"id": "dlv_1"},
    "run": {"id": "run_1", "trigger": "signed_up"},
    "secrets": {"token": "hunter2"},
    "now": "2026-03-01T10:20:30+00:00",
}

BLOCKS = {
    "greeting": "Hi {{${first_name}}}{% assign greeted = 'yes' %}",
    "outer": "<{{content_blocks.${greeting}}}>",
    "third": "{{content_blocks.${outer}}}",
    "emails": "a@x,{{${email_address}}},c@x",
    "broken": "line one\nline {{ 1 | nofilter }}",
    "failing": "one\ntwo {{ 1 | divided_by: 0 }}",
    "large": "x" * (50 * 1024 + 1),
}


def render(text: str, **facts: object) -> str:
    return compile_template(text, escape="none", dialect="braze", blocks=BLOCKS).render({**FACTS, **facts})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{${first_name}}}", "Anna"),
        ("{{ ${first_name} }}", "Anna"),
        ("{{- ${first_name} -}} !", "Anna!"),
        ("{{${email_address}}}", "anna@example.com"),
        ("{{${user_id}}}", "u1"),
        ("{{${language}}} {{${most_recent_locale}}} {{${time_zone}}}", "pt pt_BR America/Los_Angeles"),
        ("{{${last_name}}}|{{${phone_number}}}|{{${gender}}}", "||"),
        ("{{custom_attribute.${zip code}}}", "LV-1010"),
        ("{{custom_attribute.${address.city}}} {{custom_attribute.${address}.city}}", "Riga Riga"),
        ("{{custom_attribute.${dotted.name}}}", "whole"),
        ("{{custom_attribute.${obj}[0].x}} {{custom_attribute.${obj[0].x}}}", "7 7"),
        ("{{custom_attribute.${Brands Viewed}[1]}} {{custom_attribute.${Brands Viewed}.size}}", "Puma 2"),
        ("{{event_properties.${mode}}}", "learn"),
        (
            "{{api_trigger_properties.${mode}}} {{context.${mode}}} {{canvas_entry_properties.${total}}}",
            "learn learn 145",
        ),
        ("{{context.tags | size}} {{context.total}}", "3 145"),
        ("{{subscribed_state.${email_global}}} {{subscribed_state.${grp-1}}}", "subscribed unsubscribed"),
        ("{{campaign.${name}}} {{campaign.${dispatch_id}}} {{canvas.${api_id}}}", "Welcome dlv_1 aut_1"),
        ("{{most_recently_used_device.${os}}} {{targeted_device.${platform}}}", "iOS 17 ios"),
        ("{{sms.${inbound_message_body}}}", "JOIN now"),
        ("{{ event.data.total }} {{ profile.attributes.one }}", "145 3"),
        ("{{card.${name}}}{{whats_app.${inbound_flow_response}}}{{app.${api_id}}}", ""),
    ],
)
def test_every_namespace_is_read_from_the_facts(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% if ${language} == 'pt' %}y{% endif %}", "y"),
        ("{% if {{custom_attribute.${one}}} == 3 %}y{% endif %}", "y"),
        ("{% if{{custom_attribute.${one}}} == 3%}y{% endif %}", "y"),
        ("{% for i in {{custom_attribute.${Brands Viewed}}} limit:5 %}{{i}} {% endfor %}", "Nike Puma "),
        ("{% assign items = 'X,Y' | split: ',' %}{% if {{items}} contains 'X' %}y{% endif %}", "y"),
        ("{% assign a = {{custom_attribute.${one}}} | plus: 1 %}{{a}}", "4"),
        ("{% assign a = {{custom_attribute.${one} | plus: 50}} %}{{a}}", "53"),
        ("{% assign b = {{custom_attribute.${one}}} %}${{custom_attribute.${two} | plus: {{b}}}} left", "$7 left"),
        ("{{ ${nickname} | default: 'you' }}{{${nickname} | default: ${first_name}}}", "youAnna"),
        ("{% if {{event_properties.${tags} | uniq | size}} == 2 %}y{% endif %}", "y"),
        ("{% assign u = {{event_properties.${tags} | uniq }} %}{% if {{u | size}} == 2%}y{% endif %}", "y"),
        ("{% assign last = {{{{event_properties.${tags}}} | reverse | first}} %}{{last}}", "a"),
        ("{% case {{event_properties.${mode}}} %}{% when {{event_properties.${mode}}} %}y{% endcase %}", "y"),
        ("{% if {{custom_attribute.${one}}} > 2 && custom_attribute.${two} > 3 %}y{% endif %}", "y"),
        ("{% if ${nope} || custom_attribute.${two} == 4 %}y{% endif %}", "y"),
        ("{% assign x = “it's” %}{{x}}", "it's"),
        ('{% if ${language} == ‘pt’ %}{{ ${nope} | default: “a "b"” }}{% endif %}', 'a "b"'),
        ('{% assign x = “it\'s "both"” %}{{x}}', 'it\'s "both"'),
        ("{% assign x = 'a'\u00a0%}{{\u200bx }}", "a"),
        # Braze's own pages leave out a brace here and there; the meaning is clear.
        ("{% assign x = {{${email_address}} | upcase %}{{x}}", "ANNA@EXAMPLE.COM"),
        ("{% assign x = {{${nope}} | date: '%s' %}[{{x}}]", "[]"),
        ("{% if {targeted_device.${platform}} contains 'ios' %}y{% endif %}", "y"),
        ("{% assign n = {{custom_attribute.${Brands Viewed}} | first } %}{{n}}", "Nike"),
        ('{% assign body = \'{"a":{"b":1}}\' %}{{body}}', '{"a":{"b":1}}'),
        (
            "{%- liquid\n assign x = ${first_name}\n if custom_attribute.${one} == 3\n echo {{x | size}}\n endif\n-%}",
            "4",
        ),
        ("{% comment %}{{custom_event.${x}}} {{ {% comment %}{% endcomment %}{% endcomment %}y", "y"),
        ("{% raw %}{{${first_name}}}{% endraw %}", "{{${first_name}}}"),
        ("{% capture c %}{{${first_name}}}!{% endcapture %}{{c | append: {{${user_id}}} }}", "Anna!u1"),
        ("{% echo ${first_name} | upcase %}", "ANNA"),
        ("{% assign now = 'now' | date: '%s' %}{{now}} {% assign event = 1 %}{{event}}", "1772360430 1"),
        ("{% assign campaign = 'mine' %}{{campaign}} {{campaign.${name}}}", "mine Welcome"),
        ("{% assign r = '{\"a b\":1}' | json_parse %}{{ r.${a b} }}", "1"),
        ("Price: ${{event_properties.${total} | money}} and {not a tag} 100%", "Price: $145.00 and {not a tag} 100%"),
    ],
)
def test_every_way_of_writing_is_read(text: str, expected: str) -> None:
    assert render(text) == expected


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("custom_attribute.${nope} == blank", True),
        ("custom_attribute.${spaces} == blank", True),
        ("custom_attribute.${no} == blank", True),
        ("custom_attribute.${list} == blank", True),
        ("custom_attribute.${one} == blank", False),
        ("custom_attribute.${one} != blank", True),
        ("blank == custom_attribute.${no}", True),
        ("custom_attribute.${nope} == null", True),
        ("custom_attribute.${nope} == nil", True),
        ("custom_attribute.${no} == null", False),
        ("custom_attribute.${list} == empty", True),
        ("custom_attribute.${nope} == empty", False),
        ("custom_attribute.${spaces} == empty", False),
        ("custom_attribute.${nope} > 0", False),
        ("custom_attribute.${nope} contains 'x'", False),
        ("custom_attribute.${one} contains 'x'", False),
        ("custom_attribute.${one} == true", False),
        ("nowhere.at.all == nil", True),
    ],
)
def test_missing_blank_and_empty_mean_what_they_mean_in_braze(condition: str, holds: bool) -> None:
    assert render(f"{{% if {condition} %}}yes{{% else %}}no{{% endif %}}") == ("yes" if holds else "no")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("nope", "d"), ("no", "d"), ("list", "d"), ("spaces", "  "), ("one", "3")],
)
def test_default_stands_in_for_nothing_but_not_for_white_space(value: str, expected: str) -> None:
    assert render(f"{{{{custom_attribute.${{{value}}} | default: 'd'}}}}") == expected


def test_a_loop_over_a_missing_list_and_the_filters_of_lists_do_nothing() -> None:
    assert render("{% for i in custom_attribute.${nope} %}x{% else %}none{% endfor %}") == "none"
    assert render("{{custom_attribute.${nope} | join: ',' }}{{custom_attribute.${nope} | map: 'x' | size}}") == "0"
    assert render("{{custom_attribute.${nope} | upcase}}{{custom_attribute.${nope} | plus: 1}}") == "1"


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("{% abort_message('no language') %}", "no language"),
        ('{% abort_message("it\'s late") %}', "it's late"),
        ("{% abort_message(“curly”) %}", "curly"),
        ("{% abort_message(not same month) %}", "not same month"),
        ("{% abort_message() %}", ""),
        ("{% abort_message () %}", ""),
        ("{% abort_message %}", ""),
        ("{%- abort_message 'plain' -%}", "plain"),
        ("{% liquid\n abort_message('in liquid')\n%}", "in liquid"),
    ],
)
def test_an_abort_carries_its_reason_and_place(tag: str, reason: str) -> None:
    with pytest.raises(Aborted) as aborted:
        render(f"text\n{{% if true %}} {tag}{{% endif %}}")
    assert aborted.value.reason == reason
    assert aborted.value.line == (3 if "liquid" in tag else 2)
    assert isinstance(aborted.value, TemplateRenderFailed)


def test_an_abort_in_a_branch_not_taken_does_nothing_and_other_dialects_can_abort_too() -> None:
    assert render("{% if false %}{% abort_message('x') %}{% endif %}sent") == "sent"
    with pytest.raises(Aborted, match="too late"):
        compile_template("{% abort_message 'too late' %}", escape="json").render({})


def test_content_blocks_are_inlined_and_share_their_variables() -> None:
    assert render("{{content_blocks.${greeting}}}! {{greeted}}") == "Hi Anna! yes"
    assert render("a {{- content_blocks.${greeting} | id: 'cb1' -}} b") == "aHi Annab"
    assert render("{{content_blocks.${outer}}}") == "<Hi Anna>"


def test_a_content_block_can_be_a_value() -> None:
    assert render("{% assign m = {{content_blocks.${emails}}} | split: ',' %}{{m[1]}}") == "anna@example.com"
    assert render("{% if content_blocks.${emails} contains ${email_address} %}blocked{% endif %}") == "blocked"
    assert render("{{ content_blocks.${greeting} | upcase }}") == "HI ANNA"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a\n{{ ${first_name}", 2, 1, "'{{' is never closed: '}}' is missing"),
        ("a\n  {{ ${first_name }}", 2, 20, "unexpected '}'"),
        ("{{ ${} }}", 1, 4, "a name is missing between the braces of '${}'"),
        ("{{$first_name}}", 1, 3, "'$' must be followed by a name in braces: ${name}"),
        ("{{ 'open }}", 1, 4, "a quote is never closed"),
        ("{% assign a = “open %}", 1, 15, "a curly quote is never closed"),
        ("{% assign a = 'x {{y}}' %}", 1, 18, "'{{ … }}' between quotes is not filled in"),
        ("{% if {{month)) == 'May' %}x{% endif %}", 1, 7, "'{{' is never closed"),
        ("{% if a } %}x{% endif %}", 1, 9, "unexpected '}': no brace is open"),
        ("{% if true", 1, 1, "'{%' is never closed"),
        ("\n{% if ${first_name} == 'x' %}", 2, 1, "'if' is never closed"),
        ("{% comment %} {{ ", 1, 1, "'comment' is never closed"),
        ("{{${first_name}}} {{ ${last_name} | nofilter }}", 1, 37, "unknown filter 'nofilter'"),
        ("\n{% if {{${first_name} | nofilter}} %}{% endif %}", 2, 25, "unknown filter 'nofilter'"),
        ("{{${a}}}{{${b}}}{% nosuchtag %}", 1, 20, "unexpected tag 'nosuchtag'"),
        ("{% assign ${name} = 1 %}", 1, 11, "a value cannot be given to '${name}'"),
        ("{% assign secrets = 1 %}", 1, 11, "the name 'secrets' is reserved"),
        ("{{ __bz_0 }}", 1, 4, "names that begin with '__bz_' are reserved"),
        ("{{ [${name}].x }}", 1, 4, "a variable must start with a name"),
        ("{% if true %}{% else ${a} %}{% endif %}", 1, 22, "did you mean 'elsif'"),
        ("{% abort_message('{{x}}') %}", 1, 17, "literal text"),
        ("{% catalog_items games {{x}} %}", 1, 4, "the tag 'catalog_items' is not available: catalogs are not kept"),
        ("{% catalog_selection_items games new 3 %}", 1, 4, "the tag 'catalog_selection_items' is not available"),
        ("{% product_recommendation x %}", 1, 4, "recommendations are not kept here; ask the system that has it with"),
        ("{% promotion('list') %}", 1, 4, "the tag 'promotion' is not available"),
        ("{% shopping_cart 1 :abort_if_not_abandoned false %}", 1, 4, "the tag 'shopping_cart' is not available"),
        ("x {{content_blocks.${nowhere}}}", 1, 3, "unknown content block 'nowhere'"),
        ("{{content_blocks.${a b}}}", 1, 1, "a content block's name has 1 to 100"),
        ("{{content_blocks.${large}}}", 1, 1, "larger than 50 KB"),
        ("\n {{content_blocks.${third}}}", 2, 2, "content blocks nest 2 deep at most"),
        ("\n {{content_blocks.${broken}}}", 2, 2, "in the content block 'broken', line 2, column 13: unknown filter"),
        ("{% assign a = content_blocks.${broken} %}", 1, 15, "in the content block 'broken', line 2, column 13: unk"),
        ("{% message_extras :value 1 :key a %}", 1, 19, "in this order"),
        ("a{{ " + "x | upcase " * 500 + "}}", 1, 2, "longer than 4,096 characters between delimiters"),
        ("a{% if " + "x and " * 1000 + "y %}{% endif %}", 1, 2, "longer than 4,096 characters between delimiters"),
        ("{{" * 30, 1, 43, "nested more than 20 deep"),
    ],
)
def test_a_mistake_is_named_at_the_authors_line_and_column(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid) as refused:
        compile_template(text, escape="none", dialect="braze", blocks=BLOCKS)
    assert message in refused.value.message
    assert (refused.value.line, refused.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("ab{{${first_name}}}\n{{ ${first_name} | divided_by: 0 }}", 2, 20, "'divided_by'"),
        ("{{${first_name}}} {% if {{custom_attribute.${one} | divided_by: 0}} %}{% endif %}", 1, 53, "'divided_by'"),
        ("\n{{content_blocks.${failing}}}", 2, 1, "in the content block 'failing', line 2, column 12: the filter"),
        ("{% if ${first_name} > 3 %}{% endif %}", 1, 21, "not supported between"),
        ("{% random %}", 1, 4, "'random' is unknown here"),
    ],
)
def test_a_failing_rendering_is_named_at_the_authors_line_and_column(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(TemplateRenderFailed) as failed:
        render(text)
    assert message in failed.value.message
    assert (failed.value.line, failed.value.column) == (line, column)


def test_many_blocks_cannot_make_a_template_without_end() -> None:
    blocks = {"a": "{{content_blocks.${b}}}" * 2_000, "b": "x" * 50_000}
    with pytest.raises(TemplateSyntaxInvalid, match="longer than 262,144 characters"):
        compile_template("{{content_blocks.${a}}}", escape="none", dialect="braze", blocks=blocks)


def test_random_repeats_for_one_seed_and_changes_with_it() -> None:
    text = "{% random 1000000 %} {% random %} {% random 1000000 %}"
    first = render(text, random="dlv_1")
    assert first == render(text, random="dlv_1")
    assert first != render(text, random="dlv_2")
    whole, fraction, again = first.split()
    assert whole != again
    assert 0 <= float(fraction) < 1
    assert {render("{% random 3 %}", random=seed) for seed in range(60)} == {"0", "1", "2"}


def test_the_random_bucket_of_a_person_never_changes() -> None:
    bucket = render("{{${random_bucket_number}}}")
    assert bucket == render("{{${random_bucket_number}}}")
    assert 0 <= int(bucket) <= 9999
    assert render("{{${random_bucket_number}}}", user={"id": "u2"}) != bucket


def test_message_extras_are_kept_beside_the_text_within_one_kilobyte() -> None:
    text = (
        "a{% message_extras :key test :value 123 %}{% message_extras :key test :value again %}"
        "{% message_extras :key {{event_properties.${mode}}} :value  {{${first_name}}} x  %}"
        "{% message_extras :key long :value {{long}} %}{% message_extras :key more :value y %}b"
    )
    made = compile_template(text, escape="json", dialect="braze").render_whole({**FACTS, "long": "é" * 1000})
    assert made.text == "ab"
    assert made.extras[:2] == (("test", "123"), ("learn", "Anna x"))
    assert dict(made.extras)["long"] == "é" * 501
    assert sum(len(key.encode()) + len(value.encode()) for key, value in made.extras) <= 1024


def test_a_secret_is_found_however_it_is_read() -> None:
    text = "{{secrets.a}}{{secrets.${b}}}{% if {{secrets.c | size}} == 1 %}{% endif %}{{content_blocks.${s}}}"
    template = compile_template(text, escape="none", dialect="braze", blocks={"s": "{{secrets.d}}"})
    assert uses_secrets(template) == {"a", "b", "c", "d"}
    call = '{% connected_content https://h :headers {"A":"{{secrets.e}}"} %}'
    tags = call + "{% message_extras :key k :value {{secrets.f}} %}"
    assert uses_secrets(compile_template(tags, escape="none", dialect="braze")) == {"e", "f"}
    assert uses_secrets(compile_template("{{secrets[${x}]}}", escape="none", dialect="braze")) == {"*"}


FRAGMENTS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{",
    "}",
    "${",
    "a",
    "x.",
    "'",
    '"',
    "“",
    "if ",
    "endif",
    "\n",
    "-",
    "connected_content http://h",
    " :body ",
    ":headers {",
    "message_extras ",
    ":key a :value ",
    "liquid\n",
    "content_blocks.${greeting}",
    "comment",
    "endcomment",
    "assign a = ",
    "abort_message(",
    "raw",
    "&&",
]


@given(text=st.lists(st.sampled_from([*FRAGMENTS, "|", " "]), max_size=25).map("".join))
def test_any_text_compiles_or_is_refused_within_its_own_lines(text: str) -> None:
    refused: TemplateSyntaxInvalid | None = None
    try:
        compile_template(text, escape="json", dialect="braze", blocks=BLOCKS)
    except TemplateSyntaxInvalid as error:
        refused = error
    assert refused is None or 1 <= refused.line <= text.count("\n") + 1
    assert refused is None or 1 <= refused.column <= len(text) + 1


@given(name=st.text(st.characters(exclude_characters="{}\n", exclude_categories=["Cs"]), min_size=1).map(str.strip))
def test_any_name_can_be_read(name: str) -> None:
    if name:
        profile = {"id": "u", "attributes": {name: "found"}}
        text = "{{custom_attribute.${" + name + "}}}"
        assert compile_template(text, escape="none", dialect="braze").render({"profile": profile}) == "found"

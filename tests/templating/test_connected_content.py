"""Connected content: a rendering asks, the caller answers, and the same rendering repeats."""

import json
from collections.abc import Callable

import pytest

from posthorn.templating import (
    Aborted,
    ContentKey,
    ContentRequest,
    ContentResponse,
    ContentWanted,
    FetchedContent,
    Masked,
    NoContent,
    ShownContent,
    TemplateRenderFailed,
    TemplateSyntaxInvalid,
    compile_template,
)

FACTS = {
    "profile": {"id": "u1", "attributes": {"first_name": 'An"na', "email": "a b@x.y", "city": "Rīga"}},
    "user": {"id": "u1"},
    "secrets": {"key": "hunter2"},
}
MASK = "•••"

Answer = Callable[[ContentRequest], ContentResponse]


def ok(body: str, status: int = 200) -> Answer:
    return lambda _: ContentResponse(status=status, body=body)


def converse(text: str, answer: Answer, escape: str = "none") -> tuple[str, list[ContentRequest], FetchedContent]:
    """Render until nothing is wanted any more."""
    template = compile_template(text, escape=escape, dialect="braze")
    answers: dict[ContentKey, ContentResponse] = {}
    asked: list[ContentRequest] = []
    while True:
        content = FetchedContent(answers)
        try:
            return template.render({**FACTS, "content": content}), asked, content
        except ContentWanted as wanted:
            request = wanted.request
        if request.key() in answers:
            pytest.fail("a request was wanted again although it was answered")
        asked.append(request)
        answers[request.key()] = answer(request)


def asked_by(text: str) -> ContentRequest:
    return converse(text, ok("{}"))[1][0]


def test_a_get_request_has_the_defaults_of_braze() -> None:
    request = asked_by(
        "{% connected_content https://h/a?e={{${email_address} | url_param_escape}}&id={{${user_id}}} %}"
    )
    assert request == ContentRequest(
        method="GET",
        url="https://h/a?e=a%20b%40x.y&id=u1",
        headers=(("Content-Type", "application/json"), ("Accept", "*/*")),
        content_type="application/json",
        cache_seconds=300,
    )


def test_a_post_request_with_every_option() -> None:
    request = asked_by("""{% connected_content
        https://h/api
        :method post
        :headers {
          "X-App-Id": "app",
          "Authorization": "Bearer {{secrets.key}}"
        }
        :body name={{${first_name}}}&city={{${city}}}&channel=Braze
        :content_type application/json
        :basic_auth cred
        :auth_credentials token
        :save answer
        :cache_max_age 900
        :retry
    %}""")
    assert (request.method, request.url, request.save) == ("POST", "https://h/api", "answer")
    assert request.headers == (
        ("X-App-Id", "app"),
        ("Authorization", "Bearer hunter2"),
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    )
    assert json.loads(request.body or "") == {"name": 'An"na', "city": "Rīga", "channel": "Braze"}
    assert (request.basic_auth, request.auth_credentials) == ("cred", "token")
    assert (request.cache_seconds, request.no_cache, request.retry) == (900, False, True)
    assert hash(request) == hash(request.key() and request)
    assert "hunter2" not in f"{request!r}{request.key()!r}"


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (":method post :body a={{${email_address}}}&b=2", "a=a%20b%40x.y&b=2"),
        (":method post :body a={{${email_address} | url_encode}}", "a=a+b%40x.y"),
        (':method post :content_type application/json :body {"n":"{{${first_name}}}"}', '{"n":"An\\"na"}'),
        (':method post :content_type application/json :body {"n": "{{1|plus:1}}", "m": 2}', '{"n": "2", "m": 2}'),
        (':method post :headers {"Content-Type": "application/json"} :body a=1', '{"a": "1"}'),
        (':method post :headers {"Content-Type":"text/xml"} :body <a>{{\'x\'}}</a>', "<a>x</a>"),
        (":method post", None),
        (":body a=1", None),
    ],
)
def test_a_body_is_sent_as_its_type_says(options: str, body: str | None) -> None:
    assert asked_by("{% connected_content https://h " + options + " %}").body == body


@pytest.mark.parametrize("escape", ["none", "json", "url"])
@pytest.mark.parametrize("content_type", [":content_type application/json", ""])
def test_a_captured_json_body_stays_json_whatever_its_values_are(escape: str, content_type: str) -> None:
    text = (
        '{% capture body %}\n{"name": "{{${first_name}}}", "ids": [1, 2]}\n{% endcapture %}'
        "{% connected_content https://h :method post :body {{body}} " + content_type + " :save r %}"
    )
    request = converse(text, ok("{}"), escape)[1][0]
    assert json.loads(request.body or "") == {"name": 'An"na', "ids": [1, 2]}


def test_a_captured_form_becomes_json_too() -> None:
    text = "{% assign b = 'x=1&y=2' %}{% connected_content https://h :method post :body {{b}} "
    assert asked_by(text + "%}").body == "x=1&y=2"
    assert json.loads(asked_by(text + ":content_type application/json %}").body or "") == {"x": "1", "y": "2"}


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ("", 300),
        (":cache_max_age 10", 300),
        (":cache_max_age 900", 900),
        (":cache_max_age 99999", 14_400),
        (":no_cache", 0),
        (":method post", 0),
        (":method post :cache_max_age 900", 900),
    ],
)
def test_an_answer_is_reused_for_as_long_as_braze_says(options: str, seconds: int) -> None:
    request = asked_by("{% connected_content https://h " + options + " %}")
    assert request.cache_seconds == seconds
    assert request.no_cache == (options == ":no_cache")


@pytest.mark.parametrize(
    ("options", "use", "body", "expected"),
    [
        (":save r", "{{r.a}} {{r.__http_status_code__}}", '{"a": 1}', "1 200"),
        ("", "{{connected.a}}", '{"a": 1}', "1"),
        (":save r", "{{r[0].w}}{{r.__http_status_code__}}", '[{"w": 7}]', "7"),
        ("", "|{{connected}}", "plain text", "plain text|"),
        (":save r", "|{{r}}", "plain text", "|plain text"),
        ("", "|{{connected}}", "42", "|42"),
        (":save r", "{{r}}", "", ""),
    ],
)
def test_an_answer_is_saved_or_printed(options: str, use: str, body: str, expected: str) -> None:
    text = "{% connected_content https://h " + options + " %}" + use
    assert converse(text, ok(body))[0] == expected


@pytest.mark.parametrize("status", [0, 199, 300, 301, 404, 500])
def test_a_failure_is_nothing(status: int) -> None:
    text = "{% connected_content https://h %}{% connected_content https://h :save r %}[{{connected}}{{r.a}}{{r}}]"
    assert converse(text, ok('{"a": 1}', status))[0] == "[]"
    check = "{% if r.__http_status_code__ != 200 %}{% abort_message('down') %}{% endif %}"
    with pytest.raises(Aborted, match="down"):
        converse("{% connected_content https://h :save r %}" + check, ok('{"a": 1}', status))


def test_a_later_request_can_use_an_earlier_answer() -> None:
    text = (
        "{% connected_content https://h/find?q={{${user_id}}} :save found %}"
        "{% connected_content https://h/get/{{found[0].id}}/ :save got %}{{got.name}}"
    )
    bodies = {"https://h/find?q=u1": '[{"id": "a/b"}]', "https://h/get/a%2Fb/": '{"name": "N"}'}
    rendered, asked, _ = converse(text, lambda request: ContentResponse(status=200, body=bodies[request.url]))
    assert rendered == "N"
    assert [request.url for request in asked] == list(bodies)


def test_equal_requests_are_fetched_once_and_a_branch_not_taken_asks_nothing() -> None:
    text = (
        "{% for i in (1..3) %}{% connected_content https://h :save r %}{{r.a}}{% endfor %}"
        "{% connected_content https://h :save other %}{{other.a}}"
        "{% if false %}{% connected_content https://never %}{% endif %}"
    )
    rendered, asked, _ = converse(text, ok('{"a": 1}'))
    assert rendered == "1111"
    assert len(asked) == 1


def test_a_printed_answer_is_escaped_by_its_place() -> None:
    text = '{"a": "{% connected_content https://h %}", "b": 1}'
    rendered, _, _ = converse(text, ok('x", "admin": true, "y": "'), "json")
    assert json.loads(rendered) == {"a": 'x", "admin": true, "y": "', "b": 1}


def test_without_answers_the_request_is_wanted_and_counts_as_a_failed_rendering() -> None:
    template = compile_template("a\n{% connected_content https://h %}", escape="none", dialect="braze")
    with pytest.raises(ContentWanted) as wanted:
        template.render(FACTS)
    assert wanted.value.request.url == "https://h"
    assert (wanted.value.line, wanted.value.column) == (2, 4)
    assert isinstance(wanted.value, TemplateRenderFailed)
    assert template.render({**FACTS, "content": NoContent()}) == "a\n"


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("{% connected_content %}", 1, 22, "the URL is missing"),
        ("{% connected_content ftp://h %}", 1, 22, "must start with http"),
        ("{% connected_content http://h x %}", 1, 31, "unexpected text after the URL"),
        ("{% connected_content http://h/${user_id} %}", 1, 31, "write {{${name}}}"),
        ("{% connected_content http://h\n :method put %}", 2, 3, "':method' is get or post"),
        ("{% connected_content http://h :save %}", 1, 32, "':save' needs a value"),
        ("{% connected_content http://h :retry 5 %}", 1, 32, "':retry' takes no value"),
        ("{% connected_content http://h :save a b %}", 1, 32, "':save' takes one word"),
        ("{% connected_content http://h :save 5 %}", 1, 32, "':save' needs a variable's name"),
        ("{% connected_content http://h :save secrets %}", 1, 4, "the name 'secrets' is reserved"),
        ("{% connected_content http://h :save a :save b %}", 1, 40, "':save' is given twice"),
        ("{% connected_content http://h :cache_max_age long %}", 1, 32, "is a number of seconds"),
        ("{% connected_content http://h :basic_auth {{x}} %}", 1, 32, "takes one word"),
        ('{% connected_content http://h :headers {"a" 1} %}', 1, 4, "must be a JSON object of texts"),
        ('{% connected_content http://h :headers {"a": ["{{x}}"]} %}', 1, 4, "must be a JSON object of texts"),
        ('{% connected_content http://h :headers {"a b": "c"} %}', 1, 4, "must be a JSON object of texts"),
        ("{% connected_content http://h/{{x | nofilter}} %}", 1, 37, "unknown filter 'nofilter'"),
        ("{% connected_content http://h/{{x %}", 1, 31, "'{{' is never closed"),
        ("{% connected_content http://h/{{}} %}", 1, 31, "an expression is missing"),
    ],
)
def test_a_mistake_is_named_at_its_place(text: str, line: int, column: int, message: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid) as refused:
        compile_template(text, escape="none", dialect="braze")
    assert message in refused.value.message
    assert (refused.value.line, refused.value.column) == (line, column)


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("{% connected_content {{${nope}}} %}", "must start with http"),
        ("{% connected_content http://h/{{ x | unescaped }} %}", "control character"),
        ('{% connected_content http://h :headers {"A": "{{x}}"} %}', "control character"),
        ("{% connected_content http://h :headers {{y}} %}", "must be a JSON object"),
    ],
)
def test_what_cannot_be_sent_is_a_failure_without_its_value(tag: str, message: str) -> None:
    with pytest.raises(TemplateRenderFailed, match=message) as failed:
        compile_template(tag, escape="none", dialect="braze").render({"x": "hunter2\r\nX: 1", "y": "hunter2"})
    assert "hunter2" not in str(failed.value)
    assert not isinstance(failed.value, ContentWanted)


def test_what_people_see_tells_no_secret_nor_what_was_fetched_with_one() -> None:
    text = (
        '{% connected_content https://h/token :method post :headers {"A": "{{secrets.key}}"} :save t %}'
        "{% connected_content https://h/basic :basic_auth cred :save b %}"
        "{% connected_content https://h/public :save p %}"
        '{"auth": "Bearer {{t.token}}", "sum": "{{t.token | sha256}}", "n": "{{t.pin}}", "basic": "{{b}}",'
        ' "status": {{t.__http_status_code__}}, "public": "{{p.x}}"}'
    )

    def answer(request: ContentRequest) -> ContentResponse:
        bodies = {"https://h/token": '{"token": "fetched", "pin": 1234}', "https://h/basic": "private text"}
        return ContentResponse(status=200, body=bodies.get(request.url, '{"x": "open"}'))

    rendered, _, content = converse(text, answer, "json")
    assert json.loads(rendered)["auth"] == "Bearer fetched"
    shown = compile_template(text, escape="json", dialect="braze").render(
        {**FACTS, "secrets": {"key": Masked(MASK)}, "content": ShownContent(content, mask=MASK)}
    )
    assert json.loads(shown) == {
        "auth": f"Bearer {MASK}",
        "sum": MASK,
        "n": MASK,
        "basic": MASK,
        "status": 200,
        "public": "open",
    }


def test_an_answer_counts_against_the_limits_of_a_rendering() -> None:
    text = "{% for i in (1..100) %}{% connected_content https://h %}{% endfor %}"
    with pytest.raises(TemplateRenderFailed, match="limit reached"):
        converse(text, ok("x" * 1_000_000))

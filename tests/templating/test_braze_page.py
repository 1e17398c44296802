"""The page about the Braze dialect names what there is, and what there is not."""

from pathlib import Path

import pytest

from posthorn.templating import TemplateSyntaxInvalid, compile_template
from posthorn.templating.braze.places import _NAMED, NAMESPACES, STANDARD

PAGE = (Path(__file__).parents[2] / "docs" / "braze.md").read_text()
SUPPORTED, LEFT_OUT = PAGE.split("## What is left out")


@pytest.mark.parametrize("name", sorted(STANDARD))
def test_every_name_of_a_person_is_on_the_page(name: str) -> None:
    assert f"`${{{name}}}`" in SUPPORTED


@pytest.mark.parametrize("name", sorted(NAMESPACES))
def test_every_namespace_is_on_the_page(name: str) -> None:
    assert f"`{name}.${{" in (LEFT_OUT if name in {"app", "card"} else SUPPORTED)


@pytest.mark.parametrize(("namespace", "name"), sorted(set(_NAMED) - {("subscribed_state", "push_global")}))
def test_every_name_with_a_place_of_its_own_is_on_the_page(namespace: str, name: str) -> None:
    assert f"`{namespace}.${{{name}}}`" in SUPPORTED


@pytest.mark.parametrize(
    "tag", ["catalog_items", "catalog_selection_items", "product_recommendation", "promotion", "shopping_cart"]
)
def test_a_tag_that_is_refused_is_on_the_page_with_the_way_out(tag: str) -> None:
    assert f"`{tag}`" in LEFT_OUT
    with pytest.raises(TemplateSyntaxInvalid, match=f"the tag '{tag}' is not available.*connected_content"):
        compile_template(f"{{% {tag} x %}}", escape="json", dialect="braze")


@pytest.mark.parametrize("tag", ["include", "render", "tablerow"])
def test_a_tag_of_liquid_that_the_page_leaves_out_is_refused(tag: str) -> None:
    assert f"`{tag}`" in SUPPORTED.partition("; not ")[2]
    with pytest.raises(TemplateSyntaxInvalid, match=f"unexpected tag '{tag}'"):
        compile_template(f"{{% {tag} 'x' %}}", escape="json", dialect="braze")


def test_json_escape_is_not_needed_and_does_no_harm() -> None:
    facts = {"profile": {"attributes": {"first_name": 'A "B" \\'}}}
    texts = [
        compile_template(text, escape="json", dialect="braze").render(facts)
        for text in ('{"n": "{{${first_name}}}"}', '{"n": "{{${first_name} | json_escape}}"}')
    ]
    assert texts == ['{"n": "A \\"B\\" \\\\"}'] * 2

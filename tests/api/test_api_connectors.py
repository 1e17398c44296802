"""The catalogue over the API, and trying an account."""

import httpx

from posthorn.connectors import load_catalogue


async def test_the_catalogue_has_labels_in_three_languages(http: httpx.AsyncClient) -> None:
    found = (await http.get("/connector")).json()["data"]
    assert {one["name"] for one in found} == set(load_catalogue())
    telegram = (await http.get("/connector/telegram")).json()
    assert set(telegram["title"]) == {"en", "ru", "zh"}
    assert set(telegram["actions"]["send_message"]["inputs"]["text"]["label"]) == {"en", "ru", "zh"}
    assert (await http.get("/connector/nope")).status_code == 404


async def test_an_account_is_tried_with_a_real_request_and_its_secret_is_not_shown(http: httpx.AsyncClient) -> None:
    await http.post("/secret", json={"name": "BOT", "value": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"})
    tried = await http.post("/connector/telegram/test", json={"credentials": {"token": "BOT"}})
    found = tried.json()
    assert tried.status_code == 200, tried.text
    assert (found["isWell"], found["status"]) == (False, 200)  # what answers here is no Telegram
    assert found["url"].startswith("https://api.telegram.org/bot••••••/")
    assert "ABC-DEF" not in tried.text


async def test_an_account_that_does_not_fit_is_refused_at_its_place(http: httpx.AsyncClient) -> None:
    answer = await http.post("/connector/telegram/test", json={"account": {"token": "1:A"}})
    assert answer.status_code == 422
    assert "is secret" in answer.text
    missing = await http.post("/connector/telegram/test", json={})
    assert ["body", "credentials", "token"] in [problem["loc"] for problem in missing.json()["detail"]]

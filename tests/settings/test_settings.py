"""Settings: sources, merging, checks, secrecy and documentation."""

import re
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.errors import SettingsInvalid
from posthorn.settings import CLIENT_VARIABLES, SETTINGS, LogFormat, LogLevel, Settings, read_settings
from posthorn.settings.declared import url_of
from posthorn.settings.parsing import parse_networks, parse_port
from posthorn.settings.reference import settings_reference

DOCS = Path(__file__).parent.parent.parent / "docs"
API_KEY = "phk_0123456789abcdef"
MASTER_KEY = "bWFzdGVyLWtleS1tYXN0ZXIta2V5LW1hc3Rlci1rZXk="


def read(flags: dict[str, object] | None = None, **environ: str) -> Settings:
    return read_settings(flags=flags or {}, environ=environ)  # type: ignore[arg-type]


def refusal(flags: dict[str, object] | None = None, **environ: str) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        read(flags, **environ)
    return str(caught.value)


def test_without_flags_and_environment_the_defaults_hold() -> None:
    assert read() == Settings()
    assert (Settings().port, Settings().inbox_port, Settings().retention_days) == (8600, 8601, 30)


def test_a_flag_wins_over_the_environment_which_wins_over_the_default() -> None:
    assert read(POSTHORN_PORT="9000").port == 9000
    assert read({"port": "9001"}, POSTHORN_PORT="9000").port == 9001
    assert read({"port": None, "allow_targets": []}, POSTHORN_PORT="9000").port == 9000


def test_a_flag_can_set_a_value_back_to_what_the_default_is() -> None:
    assert read({"port": "8600"}, POSTHORN_PORT="9000").port == 8600


def test_every_kind_of_setting_is_read_from_the_environment() -> None:
    settings = read(
        POSTHORN_DATA="/data",
        POSTHORN_HOST="[::1]",
        POSTHORN_ALLOW_TARGETS="10.0.0.0/8, fd00::/8,127.0.0.1",
        POSTHORN_API_KEY=API_KEY,
        POSTHORN_MASTER_KEY=MASTER_KEY,
        POSTHORN_PUBLIC_INBOX_URL="https://hooks.example.org/",
        POSTHORN_LOG_LEVEL="Warning",
        POSTHORN_LOG_FORMAT="json",
        POSTHORN_RETENTION_DAYS="7",
        POSTHORN_DRAIN_SECONDS="2.5",
        PATH="/usr/bin",
    )
    assert settings == Settings(
        data=Path("/data"),
        host="::1",
        allow_targets=(ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("127.0.0.1/32")),
        api_key=API_KEY,
        master_key=MASTER_KEY,
        public_inbox_url="https://hooks.example.org",
        log_level=LogLevel.WARNING,
        log_format=LogFormat.JSON,
        retention_days=7,
        drain_seconds=2.5,
    )


def test_a_repeatable_flag_collects_its_values() -> None:
    settings = read({"allow_targets": ["10.0.0.0/8", "127.0.0.0/8"]}, POSTHORN_ALLOW_TARGETS="fd00::/8")
    assert settings.allow_targets == (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))


def test_an_empty_variable_counts_as_absent() -> None:
    assert read(POSTHORN_PORT="", POSTHORN_DATA="").port == 8600


@pytest.mark.parametrize("variable", ["POSTHORN_API_KEY", "POSTHORN_MASTER_KEY"])
def test_an_empty_secret_is_refused_because_somebody_may_believe_to_have_given_it(variable: str) -> None:
    assert variable in refusal(**{variable: ""})


def test_an_unknown_variable_stops_the_start_and_names_the_nearest() -> None:
    assert "POSTHORN_INBOX_PROT: there is no such setting; did you mean POSTHORN_INBOX_PORT?" in refusal(
        POSTHORN_INBOX_PROT="1"
    )


def test_the_clients_variables_do_not_stop_the_server() -> None:
    assert read(**dict.fromkeys(CLIENT_VARIABLES, "http://127.0.0.1:8600")) == Settings()


def test_what_kubernetes_injects_for_a_service_of_our_name_is_explained() -> None:
    assert "enableServiceLinks: false" in refusal(POSTHORN_SERVICE_HOST="10.0.0.1")
    assert "enableServiceLinks: false" in refusal(POSTHORN_PORT="tcp://10.0.0.1:8600")


def test_all_problems_are_told_at_once_with_where_they_came_from() -> None:
    told = refusal({"port": "x"}, POSTHORN_RETENTION_DAYS="0", POSTHORN_HOSTT="a")
    assert [line.split(":")[0] for line in told.splitlines()] == [
        "--port='x'",
        "POSTHORN_HOSTT",
        "POSTHORN_RETENTION_DAYS='0'",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("port", "65536"),
        ("port", "-1"),
        ("port", ""),
        ("host", "http://example.org"),
        ("allow_targets", "10.0.0.1/8"),
        ("allow_targets", "everything"),
        ("api_key", "short"),
        ("api_key", "sixteen characters with spaces"),
        ("master_key", " "),
        ("public_inbox_url", "ftp://example.org"),
        ("public_inbox_url", "https://user:pass@example.org"),
        ("public_inbox_url", "https://example.org:99999"),
        ("public_inbox_url", "https://example.org?x=1"),
        ("log_level", "loud"),
        ("log_format", "xml"),
        ("retention_days", "0"),
        ("drain_seconds", "nan"),
        ("drain_seconds", "-1"),
        ("drain_seconds", "inf"),
    ],
)
def test_a_wrong_value_is_refused(name: str, text: str) -> None:
    (option,) = (setting.option for setting in SETTINGS if setting.name == name)
    told = refusal({name: text})
    assert re.match(rf"{option}(=|: expected|: it is empty)", told)


def test_a_network_with_bits_after_its_prefix_gets_the_right_one_proposed() -> None:
    assert "did you mean 10.0.0.0/8?" in refusal({"allow_targets": ["10.0.0.1/8"]})


def test_the_two_doors_cannot_share_a_port_unless_both_are_free() -> None:
    assert "choose two" in refusal({"port": "9000", "inbox_port": "9000"})
    assert read({"port": "0", "inbox_port": "0"}).port == 0


def test_values_built_in_code_pass_the_same_checks() -> None:
    for wrong in ({"port": 70_000}, {"retention_days": 0}, {"drain_seconds": -1.0}, {"drain_seconds": float("nan")}):
        with pytest.raises(SettingsInvalid):
            Settings(**wrong)  # type: ignore[arg-type]


def test_no_secret_appears_in_the_repr_or_in_a_refusal() -> None:
    settings = read(POSTHORN_API_KEY=API_KEY, POSTHORN_MASTER_KEY=MASTER_KEY)
    assert API_KEY not in repr(settings)
    assert MASTER_KEY not in repr(settings)
    assert "s3cret words" not in refusal({"api_key": "s3cret words"})
    secret = {setting.name for setting in SETTINGS if setting.secret}
    assert secret == {"api_key", "master_key", "database"}
    with_password = read(POSTHORN_DATABASE="postgresql://u:hush@db/posthorn")
    assert "hush" not in repr(with_password)
    assert "hush" not in refusal({"database": "mysql://u:hush@db/posthorn"})


def test_the_inbox_address_is_the_public_one_or_made_of_host_and_bound_port() -> None:
    assert Settings(public_inbox_url="https://hooks.example.org").inbox_url(1234) == "https://hooks.example.org"
    assert Settings(host="0.0.0.0").inbox_url(1234) == "http://127.0.0.1:1234"
    assert Settings(host="::1").inbox_url(1234) == "http://[::1]:1234"
    assert url_of("example.org", 80) == "http://example.org:80"


def test_every_setting_is_documented_and_its_default_parses_back() -> None:
    names = set(Settings.__dataclass_fields__)
    assert {setting.name for setting in SETTINGS} == names
    for setting in SETTINGS:
        assert setting.meaning.endswith("."), setting.name
        assert setting.placeholder.isupper(), setting.name
        if setting.default not in (None, ()):
            assert setting.parse(setting.shown_default) == setting.default


def test_the_page_of_settings_is_what_the_code_renders() -> None:
    assert (DOCS / "settings.md").read_text() == settings_reference(), "run `make docs`"


@given(st.text())
def test_a_port_is_a_number_in_range_or_a_value_error(text: str) -> None:
    try:
        port = parse_port(text)
    except ValueError:
        return
    assert 0 <= port <= 65_535
    assert port == int(text)


@given(st.lists(st.ip_addresses(), max_size=5))
def test_addresses_are_networks_of_one(addresses: list[object]) -> None:
    networks = parse_networks(",".join(map(str, addresses)))
    assert [network.num_addresses for network in networks] == [1] * len(addresses)
    assert [str(network.network_address) for network in networks] == [str(address) for address in addresses]

"""Where calls go."""

from __future__ import annotations

import pytest

from headrace.errors import ConfigError
from headrace.providers.addresses import check_base_url, host_of, join_url


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("http://h", "/v1/chat", "http://h/v1/chat"),
        ("http://h/v1", "/v1/chat", "http://h/v1/chat"),
        ("http://h/v1/", "/v1/chat", "http://h/v1/chat"),
        ("http://h/v1", "/chat", "http://h/v1/chat"),
        ("http://h", "/chat", "http://h/chat"),
        ("http://h/api/v1", "/v1/chat", "http://h/api/v1/chat"),
        ("http://h/v1", "/v1beta/chat", "http://h/v1/v1beta/chat"),
        ("http://h/v1", "/v1", "http://h/v1"),
    ],
)
def test_a_trailing_and_a_leading_v1_are_one(base: str, path: str, url: str) -> None:
    assert join_url(base, path) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h",
        "ftp://h",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@h",
        "http://h/?key=secret",
        "http://h/#x",
        "http://h/?",
        "http://h:port",
        "http://h:99999",
        "http://h/a b",
        "http://h\\@evil",
        "http://[::1",
    ],
)
def test_a_bad_base_url_is_refused_without_showing_a_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_base_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://h", "https://h:8443/openai/v1", "http://[::1]:8"]
)
def test_a_good_base_url_stays_as_it_is(url: str) -> None:
    assert check_base_url(url + "/") == url


def test_the_host_of_an_address_is_shown_without_credentials() -> None:
    assert host_of("https://user:pw@h:8/x?y") == "h:8"
    assert host_of("/relative") == "the same host"

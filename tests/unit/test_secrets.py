"""Which names are secrets, and what is shown of values."""

import pytest

from cube.secrets import MASK, is_secret_name, mask_value, masked


@pytest.mark.parametrize(
    "name",
    [
        "PASSWORD",
        "DB_PASSWORD",
        "PGPASSWORD",
        "mysql_root_passwd",
        "API_KEY",
        "APIKEY",
        "AWS_SECRET_ACCESS_KEY",
        "ACCESSKEY",
        "sshKey",
        "GITHUB_TOKEN",
        "clientSecret",
        "CREDENTIALS",
        "SENTRY_DSN",
        "REDIS_AUTH",
        "TLS_KEYS",
        "SMTP_PASS",
    ],
)
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["PATH", "MONKEY", "KEYBOARD", "PASSENGERS", "AUTHOR", "HOST", "COMPASS", "SPIN", ""]
)
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_masking_keeps_order_and_what_is_no_secret() -> None:
    environment = (("Z", "1"), ("TOKEN", "abc"), ("EMPTY_TOKEN", ""), ("A", "2"))
    expected = (("Z", "1"), ("TOKEN", MASK), ("EMPTY_TOKEN", ""), ("A", "2"))
    assert masked(environment) == expected
    assert masked(dict(environment)) == expected


def test_a_password_in_a_url_is_masked() -> None:
    assert mask_value("BROKER", "amqp://guest:guest@rabbit:5672//") == (
        f"amqp://guest:{MASK}@rabbit:5672//"
    )
    assert mask_value("SITE", "http://host:8080/a@b") == "http://host:8080/a@b"

"""Settings that are lists: of networks, hosts and origins."""

from __future__ import annotations

from ipaddress import ip_network

from django.core.exceptions import ImproperlyConfigured


def read_networks(name: str, texts: list[str] | None) -> list[str] | None:
    """The networks of a setting; None where it is not set. Raises ImproperlyConfigured for what is no network."""
    if texts is None:
        return None
    try:
        return [str(ip_network(text.strip(), strict=False)) for text in texts if text.strip()]
    except ValueError as error:
        raise ImproperlyConfigured(f"{name}: {error}; write it like 10.0.0.0/8,::1.") from error


def tidy(texts: list[str]) -> list[str]:
    """A list as it was meant: people write a space after a comma, which no host and no origin has."""
    return [text.strip() for text in texts if text.strip()]

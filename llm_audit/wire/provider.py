"""Whose server was asked: told by its host, then by the client that asks."""

from collections.abc import Mapping


def provider_of(host: str, headers: Mapping[str, str]) -> str:
    """Return the name of a provider.

    Args:
        host: The URL's.
        headers: Of the request, their names in small letters.

    Returns:
        The name as prices and other tools spell it; of an unknown host the host itself.
    """
    return headers.get("x-provider", host)  # the names follow

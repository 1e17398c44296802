"""The forms of credentials: strict enough that none can move a request to another place."""

import re
from typing import Final

from posthorn.connectors.connector import Credential, Form

MOST_CREDENTIAL_CHARACTERS: Final = 8_192
IN_HOST: Final = frozenset({Form.LABEL, Form.HOST})
IN_PATH_AS_IS: Final = frozenset({Form.TOKEN, Form.PATH, Form.DIGITS, Form.LABEL, Form.HOST})

_SEGMENT = r"(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~:-]{1,512}"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PATTERNS: Final = {
    Form.TEXT: re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+\Z"),
    Form.TOKEN: re.compile(rf"{_SEGMENT}\Z"),
    Form.PATH: re.compile(rf"{_SEGMENT}(?:/{_SEGMENT}){{0,15}}\Z"),
    Form.DIGITS: re.compile(r"[0-9]{1,32}\Z"),
    Form.LABEL: re.compile(rf"{_LABEL}\Z"),
    # At least two labels, and the last has a letter: an address in digits is no host name.
    Form.HOST: re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?=[0-9-]*[A-Za-z]){_LABEL}\Z"),
}
_WORDS: Final = {
    Form.TEXT: "one line of text",
    Form.TOKEN: "letters, digits and -._~: only",
    Form.PATH: "letters, digits, -._~: and slashes between them, without a slash at the beginning or end",
    Form.DIGITS: "digits only",
    Form.LABEL: "letters, digits and hyphens only, without dots",
    Form.HOST: "a host name such as acme.example.com, without https://, port and path",
}


def form_problem(credential: Credential, value: str) -> str | None:
    """Say what is wrong with a credential's value, if anything is. Never quotes the value."""
    if credential.choices:
        values = [choice.value for choice in credential.choices]
        return None if value in values else f"must be one of {', '.join(values)}"
    if len(value) > MOST_CREDENTIAL_CHARACTERS:
        return f"is longer than {MOST_CREDENTIAL_CHARACTERS:,} characters"
    if _PATTERNS[credential.form].match(value) is None:
        return f"must be {_WORDS[credential.form]}"
    return None


def is_host(value: str) -> bool:
    """Tell whether a text is a host name."""
    return _PATTERNS[Form.HOST].match(value) is not None

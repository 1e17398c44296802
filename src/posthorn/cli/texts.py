"""Every sentence that the command line prints passes through here, so that translations need no change of code.

Catalogues are looked up in `locale/<language>/LC_MESSAGES/posthorn.mo`, by LANGUAGE, LC_ALL, LC_MESSAGES and LANG.
The source strings are English, and what has no translation is printed as it stands.
"""

import gettext
from pathlib import Path

DOMAIN = "posthorn"
LOCALE_DIRECTORY = Path(__file__).parent / "locale"

# Help texts are built when the command modules are imported, so the language is chosen then.
_translations = gettext.translation(DOMAIN, localedir=LOCALE_DIRECTORY, fallback=True)

_ = _translations.gettext

"""HTTP JSON: parse, call `manage`, render. No rules and no SQL.

Lists are pages `{data, iterator, prevIterator, done}`; failures are `{code, detail}`, and 422 is
`{detail: [{loc, msg, type}]}`. An unknown field or parameter is a 422 that names it.
"""

from posthorn.api.app import PREFIX, build_app
from posthorn.api.services import ApiServices

__all__ = ["PREFIX", "ApiServices", "build_app"]

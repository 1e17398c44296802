"""Liquid templates for what an automation sends: URL, headers, body. Pure: no clock, socket or store.

Two dialects of one engine: our own, strict about variables, and Braze's. Both read the same facts and escape what
they print by its position.
"""

from posthorn.templating.braze.book import BLOCK_NAMES, MAX_BLOCK_BYTES, is_block_name
from posthorn.templating.braze.places import BrazeVariables, braze_variables
from posthorn.templating.content import (
    CONTENT_DEADLINE_SECONDS,
    FAILED,
    MAX_CONTENT_BYTES,
    ContentAnswers,
    ContentKey,
    ContentRequest,
    ContentResponse,
    FetchedContent,
    NoContent,
    ShownContent,
)
from posthorn.templating.context import DEFAULT_LIMITS, Limits
from posthorn.templating.failures import (
    Aborted,
    ContentUnanswered,
    ContentWanted,
    TemplateRenderFailed,
    TemplateSyntaxInvalid,
)
from posthorn.templating.printing import Masked
from posthorn.templating.sinks import Escape
from posthorn.templating.template import (
    Dialect,
    RenderedText,
    Template,
    compile_block,
    compile_template,
    includes_blocks,
    uses_secrets,
    variables,
)
from posthorn.templating.unknown import EVERY_ELEMENT, KnownNames, UnknownVariable, unknown_variables

__all__ = [
    "BLOCK_NAMES",
    "CONTENT_DEADLINE_SECONDS",
    "DEFAULT_LIMITS",
    "EVERY_ELEMENT",
    "FAILED",
    "MAX_BLOCK_BYTES",
    "MAX_CONTENT_BYTES",
    "Aborted",
    "BrazeVariables",
    "ContentAnswers",
    "ContentKey",
    "ContentRequest",
    "ContentResponse",
    "ContentUnanswered",
    "ContentWanted",
    "Dialect",
    "Escape",
    "FetchedContent",
    "KnownNames",
    "Limits",
    "Masked",
    "NoContent",
    "RenderedText",
    "ShownContent",
    "Template",
    "TemplateRenderFailed",
    "TemplateSyntaxInvalid",
    "UnknownVariable",
    "braze_variables",
    "compile_block",
    "compile_template",
    "includes_blocks",
    "is_block_name",
    "unknown_variables",
    "uses_secrets",
    "variables",
]

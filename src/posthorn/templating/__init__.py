"""Liquid templates for what an automation sends: URL, headers, body. Pure: no clock, socket or store."""

from posthorn.templating.context import DEFAULT_LIMITS, Limits
from posthorn.templating.failures import TemplateRenderFailed, TemplateSyntaxInvalid
from posthorn.templating.sinks import Escape
from posthorn.templating.template import Template, compile_template, uses_secrets, variables

__all__ = [
    "DEFAULT_LIMITS",
    "Escape",
    "Limits",
    "Template",
    "TemplateRenderFailed",
    "TemplateSyntaxInvalid",
    "compile_template",
    "uses_secrets",
    "variables",
]

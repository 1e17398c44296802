"""The suite of the Registry port."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

from posthorn.testing.conformance.registry_pages import *
from posthorn.testing.conformance.registry_resources import *

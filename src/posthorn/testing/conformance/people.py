"""The suite of the People port."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

from posthorn.testing.conformance.people_erased import *
from posthorn.testing.conformance.people_gone import *
from posthorn.testing.conformance.people_pages import *
from posthorn.testing.conformance.world import *

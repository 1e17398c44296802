"""The suite of the Journal port."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

from posthorn.testing.conformance.journal_filters import *
from posthorn.testing.conformance.journal_pages import *
from posthorn.testing.conformance.journal_states import *
from posthorn.testing.conformance.journal_threads import *
from posthorn.testing.conformance.world import *

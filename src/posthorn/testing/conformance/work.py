"""The suite of the WorkStore and Cluster ports. It settles what the ports leave open, so read it with them."""
# ruff: noqa: F403 - importing everything is how a suite of tests is taken over.

from posthorn.testing.conformance.append import *
from posthorn.testing.conformance.cluster import *
from posthorn.testing.conformance.decide import *
from posthorn.testing.conformance.lanes import *
from posthorn.testing.conformance.leases import *
from posthorn.testing.conformance.profiles import *
from posthorn.testing.conformance.queue import *
from posthorn.testing.conformance.replay import *
from posthorn.testing.conformance.retention import *
from posthorn.testing.conformance.settle import *
from posthorn.testing.conformance.takeovers import *
from posthorn.testing.conformance.timers import *
from posthorn.testing.conformance.world import *

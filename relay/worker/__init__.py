"""The cycle: claim → produce → settle, with many calls in flight. Knows neither SQL nor HTTP nor signals.

acquaintance.py  looks up whose accounts turn up, pauses those without credentials, ends pauses for a credential
clock.py     the time for signing, corrected by the database's
cycle.py     claims while slots are free, ends a run
flights.py   the calls claimed and in flight, and their leases as this process knows them
settling.py  writes down everything that finished meanwhile, in one transaction
deadlines.py the last look at deliver_before, just before a call is made
directory.py what the worker may know of accounts: never a secret
gauging.py   what waits, for the metrics: asked when somebody scrapes, and seldom enough
housekeeping.py  moves what finished long ago to the archive
isolation.py finds messages that cannot be read, when claims are refused
lanes.py     which producer makes the calls of an account, and what each takes at the moment
leases.py    lets the leases of open calls run anew; settles calls whose worker is gone
limits.py    how much the platform takes at the moment
lingering.py looks now and then for sessions that keep messages from being claimed
options.py   what a worker is told: a field each; when a run ends by itself
pacing.py    how hard to press a platform that is in trouble, as functions of values
pauses.py    which accounts are left alone because their app key is paused
readiness.py what a probe is told, soon, however the database is
report.py    what a run has done so far
stopping.py  lets calls land, then cuts them off; the last outcomes are written
tasks.py     waits for tasks and ends them
threads.py   runs the store's blocking transactions beside the event loop
tracing.py   a span around each call, where somebody records them
"""

from relay.worker.clock import Clock
from relay.worker.cycle import Worker
from relay.worker.directory import Directory, Nobody
from relay.worker.gauging import Gauging
from relay.worker.lanes import Route, Routing
from relay.worker.options import Options, Until
from relay.worker.report import Report
from relay.worker.tracing import Spans

__all__ = [
    "Clock",
    "Directory",
    "Gauging",
    "Nobody",
    "Options",
    "Report",
    "Route",
    "Routing",
    "Spans",
    "Until",
    "Worker",
]

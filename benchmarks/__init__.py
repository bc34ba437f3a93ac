"""Speed as ratios, measured side by side in one run: ``make bench``, ``make bench QUICK=1``.

A number of messages per second says more about a machine than about a program. Therefore everything here is compared
with something that runs on the same machine, in the same minutes, on the same rows: a bare loop written by hand, a
naive poller, the same thing without a trigger, the same table without its history. Contenders take turns, every run
starts from a fresh copy of the database, medians are printed with the smallest and the largest value.

    ground.py       a durable PostgreSQL, fresh databases, what the server counted
    platform.py     the other end: answers every call at once, or after a latency, and counts messages
    contenders/     who drains the table: relay, bare, naive
    peers/          other libraries, each in an environment of its own
    starting.py     processes that start at once
    race.py         one process for each contender; a common start
    follower.py     a relay that runs beside what is measured
    measures/       one module for each question; each gives a table
    effort.py       how much is measured: everything, or a glance
    table.py        how results are shown and kept
    figures.py      puts what was kept into the documents
"""

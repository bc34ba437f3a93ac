"""The relay in other people's frameworks, one file each: what a framework wants said in its own words, and no more.

Each is imported by an application of that framework and by nothing of ours. They go through the doors that everybody
has, ``relay``, ``relay.errors`` and ``relay.settings``, so that an integration of your own can do the same.
"""

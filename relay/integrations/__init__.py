"""The relay in other people's frameworks: what a framework wants said in its own words, and no more.

A file or a folder each, imported by an application of that framework and by nothing of ours. They go through the doors
that everybody has, ``relay``, ``relay.errors``, ``relay.settings`` and ``relay.testing``, so that an integration of
your own can do the same.
"""

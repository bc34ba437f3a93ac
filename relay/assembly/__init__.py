"""The only room that wires: from settings to things that are open and know each other. Never prints, takes no signals.

    settings ──> database    engines whose errors are sentences; snapshots to read, connections for operators
             ├─> accounts    the sources of credentials
             └─> producers   the producer of the settings, and what it is told

Doors (``cli/``) and other programs ask it; nobody else makes an engine, a store or a worker. It raises the errors of
``relay.errors``.
"""

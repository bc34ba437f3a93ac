"""The only room that wires: from settings to things that are open and know each other. Never prints, takes no signals.

    settings ──> database    the database of the settings: snapshots to read, engines for operators
             ├─> accounts    the sources of credentials
             ├─> producers   the producer of the settings, and what it is told
             ├─> worker      all of these with the store, the wake-up and the observers: a worker that can run
             ├─> introduction  what the first line of its log says
             ├─> configuration every option with its source, whatever is wrong
             ├─> examination what a doctor finds in all of these
             ├─> remainder   why a drain ended although messages are pending
             └─> embedding   that worker inside an application: relay.open_worker, relay.running, relay.drain

Doors (``cli/``) and other programs ask it; nobody else makes an engine, a store or a worker. It raises the errors of
``relay.errors``; what is only worth a warning goes to the function ``warn``.
"""

"""A local server that plays the platform: the gateway's ``/router/rest``, what it accepted, and troubles by name.

    HTTP ─> server ─> app ─> platform ─┬─ checks, signature   may the call come in?
                       │               ├─ elements            is each message acceptable?
                       │               ├─ strikes, faults     which trouble hits this call?
                       │               ├─ records             what arrived, what became of it
                       └─ page         └─ answers             what goes back, as JSON or XML

It is a second, independent reading of the protocol: nothing here imports the client side (``relay.tmc``), so that a
mistake made there shows here. Everything is kept in memory, without any bound, until the process ends or
``DELETE /messages``.
"""

"""A local server that plays the platform: the gateway's ``/router/rest``, what it accepted, and troubles by name.

    HTTP ─> app ─> platform ─┬─ checks     is the call well-formed, timely, signed, allowed?
    server                   ├─ elements   is each message acceptable?
    (sockets, cuts)          ├─ faults     which trouble strikes this call?
                             └─ answers    what goes back, as JSON or XML
    page: what arrived, for people

It is a second, independent reading of the protocol: nothing here imports the client side (``relay.tmc``), so that a
mistake made there shows here. Everything is kept in memory, without any bound, until the process ends or
``DELETE /messages``.
"""

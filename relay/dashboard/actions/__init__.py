"""What people do on the pages, where the settings allow it: look first, then do exactly that.

    orders       who wants it and why, as the ledger is told
    choosing     which messages: rows that were ticked, or all that fit what a list was asked
    messages     retry and discard
    pausing      pause and resume
    revealing    the content of one message
    reasons      why messages are left alone, in the viewer's language

A preview is a plain question, safe to follow and to send to a colleague. It pins the messages *and their versions* in
its form, and what is applied is that and nothing else: who changed one meanwhile was first. Each act is one of
``relay.operators``, in one transaction with its row in the ledger; rights are PostgreSQL's.
"""

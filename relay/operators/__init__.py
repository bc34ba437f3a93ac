"""What operators do, whoever asks for them: the command, a page, a program of their own. Every act is in the ledger.

    actions      retry, discard, redact, reveal, pause, resume, prune: over messages, accounts and app keys
    archive      what finished moves away by the month, and a month goes as a whole
    statements   their SQL, as texts

Functions over a connection that knows its schema (see ``relay.database``). They give back what was done and what was
left alone, with the reason; what cannot be done is an error of ``relay.errors`` with its hint. Nothing is printed or
asked here.
"""

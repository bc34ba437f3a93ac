"""What operators do, by whatever way: the command, a page, a program of their own. Every act is in the ledger.

    actions      retry, discard, redact, reveal, pause, resume: over messages, accounts and app keys
    retention    prune, and forget dedupe keys: what is over for long goes for good
    archive      what finished moves away by the month, and a month goes as a whole
    ledger       who acted and why, as a row
    statements   their SQL, as texts

Functions over a connection that knows its schema (see ``relay.database``). They give back what was done and what was
left alone, with the reason; what cannot be done is an error of ``relay.errors`` with its hint. Nothing is printed or
asked here.
"""

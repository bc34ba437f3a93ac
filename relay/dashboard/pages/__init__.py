"""The pages, one module each: a function from a visit to what its template is given. No SQL, no HTML.

To add one: a function here, a template beside the others, its sentences in both languages, a line in ``app.py``.
"""

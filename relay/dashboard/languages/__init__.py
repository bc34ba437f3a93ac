"""The sentences of the pages, in each language under the same keys; a test compares both.

en.py, zh.py    key -> sentence, with the names of values in braces
"""

from __future__ import annotations

from relay.dashboard.languages.en import TEXTS as ENGLISH
from relay.dashboard.languages.zh import TEXTS as CHINESE

TEXTS = {"en": ENGLISH, "zh": CHINESE}


def told(language: str, key: str, /, **values: object) -> str:
    """The sentence with its values filled in; KeyError for a key that nobody wrote."""
    return TEXTS[language][key].format(**values)

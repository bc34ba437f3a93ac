"""The sentences of the pages, in each language under the same keys; a test compares both.

en.py, zh.py              key -> sentence, with the names of values in braces
acts_en.py, acts_zh.py    the same of what people do on the pages
causes_zh.py              what errors mean, beside what they say in English
"""

from __future__ import annotations

from relay.dashboard.languages.acts_en import TEXTS as ENGLISH_ACTS
from relay.dashboard.languages.acts_zh import TEXTS as CHINESE_ACTS
from relay.dashboard.languages.en import TEXTS as ENGLISH
from relay.dashboard.languages.zh import TEXTS as CHINESE

TEXTS = {"en": {**ENGLISH, **ENGLISH_ACTS}, "zh": {**CHINESE, **CHINESE_ACTS}}


def told(language: str, key: str, /, **values: object) -> str:
    """The sentence with its values filled in; KeyError for a key that nobody wrote."""
    return TEXTS[language][key].format(**values)

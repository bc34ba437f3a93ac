"""Why something is paused, and why the ledger has a row, where the relay itself says so and no person.

What is stored is English, and one of these; whoever reads Chinese is told the other sentence. A pause goes on with
the words of the platform. It is known by how it begins (metrics tell pauses apart by that too), a row of the ledger by
its action and its whole sentence. What a person gives as a reason is none of these, and stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OwnReason:
    """``en`` is stored, with a value in the place of a name in braces; ``zh`` may name the same values.

    ``explained``: what its error code means belongs to it.
    """

    en: str
    zh: str
    explained: bool = False

    @property
    def begins(self) -> str:
        """What is always the same."""
        return self.en.partition("{")[0]

    def written(self, **values: object) -> str:
        """As it is stored."""
        return self.en.format(**values)

    def read(self, text: str) -> str | None:
        """In Chinese, if that is what the text says."""
        form = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.*)", re.escape(self.en))
        found = re.fullmatch(form, text, re.DOTALL)
        return self.zh.format(**found.groupdict()) if found else None


THROTTLED = OwnReason("throttled by the platform: {said}", "平台限流", explained=True)
CREDENTIALS_REFUSED = OwnReason("credentials refused: {said}", "凭证被拒绝", explained=True)
CREDENTIALS_MISSING = OwnReason(
    "credentials refused: no app key and secret are configured for the account {account}", "没有凭证", explained=True
)
UNREADABLE_REQUESTS = OwnReason(
    "the platform cannot read our requests: {said}", "平台无法识别 relay 的请求", explained=True
)
NOWHERE = OwnReason(
    "nothing can be sent for the account {account}: {why}", "该账户的消息无处可发：凭证或去向的配置有误"
)
UNSAID = OwnReason(
    "ordered by an answer", "按平台的应答暂停", explained=True
)  # the database can hold none of its words

# Of several that begin alike the longest comes first.
OF_PAUSES = (THROTTLED, CREDENTIALS_MISSING, CREDENTIALS_REFUSED, UNREADABLE_REQUESTS, NOWHERE, UNSAID)

ARCHIVED = OwnReason(
    "finished more than {days} days ago (RELAY_ARCHIVE_AFTER_DAYS)", "{days} 天前已结束（RELAY_ARCHIVE_AFTER_DAYS）"
)
FORGOTTEN = OwnReason(
    "left more than {days} days ago (RELAY_DEDUPE_KEEP_DAYS)", "{days} 天前已离开（RELAY_DEDUPE_KEEP_DAYS）"
)
RETENTION = OwnReason("retention", "保留期已满")

# By the action. Those without a name here are written by functions of the database.
OF_THE_LEDGER: Mapping[str, tuple[OwnReason, ...]] = {
    "archive": (ARCHIVED, RETENTION),
    "forget": (FORGOTTEN,),
    "prune": (RETENTION,),
    "start": (OwnReason("a worker started", "worker 已启动"),),
    "mask": (
        OwnReason("a mask was changed: {how}", "脱敏规则已更改：{how}"),
        OwnReason("all masks are removed", "全部脱敏规则已删除"),
    ),
    "salt": (OwnReason("hashes of a version before 0008 get a salt", "为 0008 之前版本的散列值加盐"),),
}


def of_pause(text: str) -> OwnReason | None:
    """Which of ours it is; None: a person's."""
    return next((one for one in OF_PAUSES if text.startswith(one.begins)), None)


def of_ledger(action: str, text: str) -> str | None:
    """In Chinese; None: a person's."""
    said = (one.read(text) for one in OF_THE_LEDGER.get(action, ()))
    return next((sentence for sentence in said if sentence), None)

"""Revision 0004, comments: what a view and its columns mean, in English / 中文, where SQL tools show it. Frozen."""

from __future__ import annotations

_ID = "The message / 消息编号"
_TOPIC = "TMC topic / 消息主题"
_ACCOUNT = "Whose credentials produce it / 使用谁的授权发送"
_KEY = "Messages of one key go one after another / 顺序键：同一键的消息逐条发送"
_CALL = "The call: one HTTP request to the platform / 调用编号：一次对平台的 HTTP 请求"
_INDEX = "Position in the call, counted from 0 / 在该次调用中的位置，从 0 起"
_REQUEST = "The platform's own id of the request / 平台返回的 request_id"
_WORKER = "Which relay process made the call / 发起调用的进程"
_PARENT = "The refused call it was split off from / 由哪次被拒的调用拆分而来"
_CODE = "Code of the last outcome that was not done / 最近一次未成功结果的错误码"
_WORDS = "The words that came with it, personal data masked / 错误说明，个人信息已脱敏"
_CREATED = "When it was inserted / 写入时间"
_FINISHED = "When it became done or failed / 完成或失败的时间"
_PRODUCER = "Which program wrote it, in its own words / 写入程序自报的名称"
_CLAIMED = "When the call was recorded, before it was made / 调用登记时间（先登记，后发送）"
_SENT = "When the call was made / 实际发送时间"
_LEASE = "After this without a sign of its worker nobody knows the outcome / 租约到期时间，逾期结果视为未知"
_STATUS_CODE = "HTTP status of the answer / 应答的 HTTP 状态码"
_SUB_CODE = "The platform's sub code / 平台的子错误码"
_DURATION = "How long the call took, in milliseconds / 调用耗时（毫秒）"
_DUE = "Due no sooner than this; infinity: held for a person / 最早发送时间；infinity 表示等待人工处理"
_DEDUPE = "A second insert with this key does nothing / 去重键：同键再次写入无效"

COMMENTS: dict[str, dict[str, str]] = {
    "audit_message": {
        "": "Every message, its content masked / 全部消息，内容已脱敏",
        "id": _ID,
        "topic": _TOPIC,
        "account": _ACCOUNT,
        "ordering_key": _KEY,
        "dedupe_key": _DEDUPE,
        "producer": _PRODUCER,
        "status": "pending, done or failed / 待发送、已完成、已失败",
        "attempts": "Calls that gave it an outcome / 得到结果的调用次数",
        "content": "The content, personal data masked, keys in another order / 内容，个人信息已脱敏，键的顺序可能不同",
        "content_characters": "Length of the stored text / 原文的字符数",
        "content_sha256": "SHA-256 of the exact text inserted, UTF-8, hex / 写入时原文（UTF-8）的 SHA-256",
        "created_at": _CREATED,
        "available_at": "Due no sooner than this; empty: see held / 最早发送时间；空见 held",
        "held": "It waits for a person / 等待人工处理",
        "deliver_before": "Never sent after this / 此时之后不再发送",
        "finished_at": _FINISHED,
        "latency_seconds": "From the insert to its end / 从写入到结束的秒数",
        "call_id": "The call that brought its final result / 带来最终结果的调用",
        "result_index": _INDEX,
        "request_id": _REQUEST,
        "error_code": _CODE,
        "error_message": _WORDS,
        "created_by": "Database user who inserted it / 写入的数据库用户",
        "created_xid": "Transaction that inserted it / 写入的事务编号",
        "traceparent": "Trace context of the application / 应用的链路追踪标识",
    },
    "audit_delivery": {
        "": "What each call meant for each message / 每次调用对每条消息的结果",
        "message_id": _ID,
        "call_id": _CALL,
        "result_index": _INDEX,
        "outcome": "done, retry, failed; unknown: it may have arrived / 成功、将重试、失败；unknown 表示可能已送达",
        "error_code": "Code for this message in this call / 该消息在该次调用中的错误码",
        "error_message": _WORDS,
        "at": "When it was recorded / 记录时间",
        "retry_at": "When it was to be sent again; empty: not by itself / 计划重试时间；空表示不自动重试",
        "account": _ACCOUNT,
        "worker": _WORKER,
        "sent_at": _SENT,
        "duration_ms": _DURATION,
        "http_status": _STATUS_CODE,
        "request_id": _REQUEST,
        "call_outcome": "How the whole call ended / 整次调用的结果",
        "call_error_code": "The platform's code for the whole call / 平台对整次调用的错误码",
        "call_sub_code": _SUB_CODE,
        "parent_id": _PARENT,
    },
    "audit_call": {
        "": "Every call, recorded before it was made / 全部调用，发送之前已登记",
        "id": _CALL,
        "account": _ACCOUNT,
        "worker": _WORKER,
        "messages": "How many messages it carried / 携带的消息数",
        "message_ids": "Its messages in the order sent / 按发送顺序排列的消息编号",
        "parent_id": _PARENT,
        "claimed_at": _CLAIMED,
        "lease_until": _LEASE,
        "sent_at": _SENT,
        "settled_at": "When its outcome was recorded; empty: in flight / 结果登记时间；空表示进行中",
        "outcome": "ok, partial, rejected, unknown, released (never sent) / 全部成功、部分成功、被拒、未知、未发送",
        "http_status": _STATUS_CODE,
        "request_id": _REQUEST,
        "error_code": "The platform's code / 平台的错误码",
        "sub_code": _SUB_CODE,
        "error_message": _WORDS,
        "request_bytes": "Size of the request / 请求字节数",
        "duration_ms": _DURATION,
    },
    "audit_failure": {
        "": "Messages that failed, with the evidence / 失败的消息及其依据",
        "id": _ID,
        "topic": _TOPIC,
        "account": _ACCOUNT,
        "ordering_key": _KEY,
        "producer": _PRODUCER,
        "error_code": "Why; relay.discarded: a person closed it / 失败原因；relay.discarded 表示人工关闭",
        "error_message": _WORDS,
        "attempts": "Calls that gave it an outcome / 得到结果的调用次数",
        "created_at": _CREATED,
        "finished_at": _FINISHED,
        "call_id": "The call that ended it; empty: none did / 导致失败的调用；空表示与调用无关",
        "result_index": _INDEX,
        "request_id": _REQUEST,
        "http_status": _STATUS_CODE,
        "sub_code": _SUB_CODE,
    },
    "audit_in_flight": {
        "": "Messages in an open call / 正在发送的消息",
        "message_id": _ID,
        "topic": _TOPIC,
        "ordering_key": _KEY,
        "result_index": _INDEX,
        "call_id": _CALL,
        "account": _ACCOUNT,
        "worker": _WORKER,
        "parent_id": _PARENT,
        "claimed_at": _CLAIMED,
        "lease_until": _LEASE,
        "lease_expired": "Its worker has gone silent / 发送进程已失去联系",
    },
    "audit_backlog": {
        "": "What is pending, by account / 各账户的待发送情况",
        "account": _ACCOUNT,
        "pending": "Messages not finished / 未结束的消息数",
        "due": "May be sent now, or are in flight / 现在可发送或正在发送",
        "waiting": "Wait for their time or a retry / 等待时间到或重试",
        "held": "Wait for a person / 等待人工处理",
        "oldest_due_seconds": "How long the oldest due one has waited / 到期消息中等待最久的秒数",
        "oldest_seconds": "Since the oldest one was inserted / 最早一条写入至今的秒数",
    },
    "blocked_keys": {
        "": "Ordering keys whose earliest message waits or is held / 被首条消息阻塞的顺序键",
        "account": _ACCOUNT,
        "ordering_key": _KEY,
        "head_id": "Its earliest message / 该键最早的消息",
        "available_at": _DUE,
        "attempts": "Calls that gave it an outcome / 得到结果的调用次数",
        "error_code": _CODE,
        "error_message": _WORDS,
        "age": "Since it was inserted / 写入至今的时长",
        "messages": "How many messages of the key are pending / 该键待发送的消息数",
    },
    "audit_possible_duplicate": {
        "": "Messages that may have arrived twice, or without proof / 可能重复送达或送达无凭据的消息",
        "message_id": _ID,
        "topic": _TOPIC,
        "account": _ACCOUNT,
        "ordering_key": _KEY,
        "dedupe_key": _DEDUPE,
        "unknown_outcomes": "Calls of which nobody knows whether they arrived / 结果未知的调用次数",
        "first_unknown_at": "The first of them / 首次未知的时间",
        "last_unknown_at": "The last of them / 最近一次未知的时间",
        "unknown_call_ids": "These calls / 结果未知的调用编号",
        "what_came_of_it": "What became of the message / 该消息的后续结果",
        "finished_at": _FINISHED,
        "final_call_id": "The call that brought its final result / 带来最终结果的调用",
        "final_request_id": _REQUEST,
    },
    "audit_pause": {
        "": "Pauses, also those that have ended by themselves / 暂停记录，含已自行到期者",
        "scope": "account:NAME or app:KEY / 暂停范围：账户或应用",
        "since": "Since when / 开始时间",
        "until": "Until when; empty: until resumed / 结束时间；空表示须人工恢复",
        "in_force": "Whether it holds now / 当前是否有效",
        "reason": "Why, personal data masked / 原因，个人信息已脱敏",
        "error_code": "The platform's code that led to it / 引起暂停的平台错误码",
        "by": "The worker or person who ordered it / 由哪个进程或人员暂停",
    },
    "audit_daily": {
        "": "Messages by the day of their insert; reads every message / 按写入日期统计；读取全部消息",
        "day": "Day of the insert, in the zone beside it / 写入日期（按所示时区）",
        "zone": "Set relay.zone for another one / 时区，可用 relay.zone 更改",
        "inserted": "All of that day; done + failed + pending / 当日写入总数，等于后三项之和",
        "done": "Accepted by the platform / 平台已接受",
        "failed": "Failed / 失败",
        "pending": "Not finished yet / 未结束",
        "unknown": "Of all of them, with at least one unknown outcome / 其中至少有一次结果未知的",
    },
    "audit_action": {
        "": "What people did, and why / 人工操作记录及原因",
        "id": "Row of the ledger / 记录编号",
        "at": "When / 操作时间",
        "actor": "Who, in their own words / 操作人自报的名称",
        "db_user": "Database user of the session / 会话的数据库用户",
        "action": "retry, discard, redact, reveal, prune, pause, resume / 重试、关闭、清除、查看原文、清理、暂停、恢复",
        "reason": "Why, personal data masked / 原因，个人信息已脱敏",
        "selection": "By which words the messages were chosen / 选择消息的条件",
        "message_ids": "Which messages; empty where there were too many / 涉及的消息；过多时为空",
        "count": "How many / 数量",
    },
    "audit_integrity": {
        "": "Whether contents are what was inserted; hashes every content / 内容是否与写入时一致；逐条重算",
        "id": _ID,
        "content_sha256": "Taken at the insert / 写入时的 SHA-256",
        "found_sha256": "Of the text that is there now / 现存内容的 SHA-256",
        "redacted": "A tombstone stands in its place / 内容已被清除",
        "intact": "Unchanged, or removed with a row in the ledger / 未被改动，或清除有据可查",
    },
}


def _comment(thing: str, words: str) -> str:
    return f"comment on {thing} is '" + words.replace("'", "''") + "'"


UPGRADE = (
    *(
        _comment(f"column {{schema}}.{view}.{column}" if column else f"view {{schema}}.{view}", words)
        for view, columns in COMMENTS.items()
        for column, words in columns.items()
    ),
)

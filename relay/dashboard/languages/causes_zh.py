"""What an error means and what to do, in Chinese, by its cause; the original stands beside it, in English.

English pages show the original alone. CAUSES has a sentence for each ``database_errors.Kind``, which a test asks for.
"""

from __future__ import annotations

from relay.database_errors import Kind

_CHECK = "请检查 RELAY_DATABASE_URL（或 RELAY_DASHBOARD_DATABASE_URL）"

CAUSES: dict[str, str] = {
    Kind.LOST: f"与 PostgreSQL 的连接中断或无法建立。{_CHECK}，以及服务器是否在运行。",
    Kind.REFUSED: f"该地址没有程序监听：服务器没有运行，或端口有误。{_CHECK}。",
    Kind.NO_ANSWER: "服务器没有及时应答。请检查网络、防火墙和服务器。",
    Kind.UNKNOWN_HOST: f"无法解析主机名。{_CHECK} 和域名解析。",
    Kind.TLS: "无法建立加密连接。请检查 sslmode 和证书。",
    Kind.LOGIN: f"服务器拒绝该用户登录：用户、密码或 pg_hba.conf 有误。{_CHECK}。",
    Kind.NO_DATABASE: f"服务器上没有这个数据库。{_CHECK}。",
    Kind.CROWDED: "服务器的连接数已满。请减少连接，或调大 max_connections。",
    Kind.STARTING: "服务器正在启动、停止或恢复。请稍后再试。",
    Kind.STOPPED: "管理员结束了该连接，或服务器正在停止。请稍后再试。",
    Kind.READ_ONLY: "服务器不接受写入：它是备库，或开启了 default_transaction_read_only。请连接主库。",
    Kind.TOO_SLOW: "语句超过了 statement_timeout，或被取消。请稍后再试。",
    Kind.LOCKED: "需要的锁没有及时空出。请等占用者结束后再试。",
    Kind.IDLED: "会话或事务因空闲超时而结束。请重新加载。",
    Kind.REPEATABLE: "两个事务互相冲突，再执行一次即可。请重新加载。",
    Kind.RESOURCES: "服务器资源不足：磁盘或内存已满。请联系数据库管理员。",
    Kind.SYSTEM: "服务器读写磁盘或文件时出错。请联系数据库管理员。",
    Kind.POOLER: "连接池没有给出可用的连接，或其模式不合适：请使用 pool_mode=transaction，并检查连接池。",
    Kind.SETTING: f"连接参数或配置有误。{_CHECK}；relay check 会给出更多说明。",
    Kind.MISSING: "relay 的表缺失，或与本版本不符。请执行 relay migrate；若表比程序新，请升级程序。",
    Kind.NO_RIGHT: (
        "数据库用户缺少权限。relay roles 说明哪个角色有此权限：请管理员把该用户加入那个角色；每次 relay migrate "
        "之后，重新执行 relay roles --sql。"
    ),
    Kind.OTHER: "PostgreSQL 或 relay 给出了以下说明。relay check 会给出更多说明。",
}

# Who holds a lock that is waited for, before the statement that ends it.
SESSION = (
    "持有锁的会话：进程 {pid}，角色 {role}，应用 {application}。请等它结束，或以 {role} 或 pg_signal_backend "
    "成员的身份执行下面的语句结束它："
)
PREPARED = (
    "持有锁的是 {role} 的已准备事务 {gid}。请等它结束，或以 {role} 或超级用户的身份在同一数据库中执行下面的语句回滚它："
)


def told_in_chinese(cause: str, holder: dict[str, object]) -> str:
    """The sentence; ``holder``: the pid, role, application and gid of who has a lock, empty where nobody is known."""
    if not holder:
        return CAUSES[cause]
    return (PREPARED if holder["pid"] is None else SESSION).format(**holder)

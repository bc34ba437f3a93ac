"""The tables as they were when this application of Django was new: revision 0008. Frozen once released.

Of the models, which are views that Django neither makes nor changes, only what it compares is told.
"""

from django.db import migrations, models

from relay.integrations.django.places import table
from relay.integrations.django.revisions import ToRevision

_PERMISSIONS = {
    "AuditMessage": (
        ("retry_message", "Can send messages again"),
        ("discard_message", "Can discard messages"),
        ("pause_account", "Can pause accounts"),
    ),
    "AuditPause": (("resume_account", "Can end pauses"),),
}
_CALLED = {
    "AuditAction": ("action of a person", "ledger"),
    "AuditBacklog": ("backlog", "backlog"),
    "AuditCall": ("call", None),
    "AuditDelivery": ("delivery", "deliveries"),
    "AuditMessage": ("message", None),
    "AuditPause": ("pause", None),
}
_KEYS = {"AuditBacklog": "account", "AuditDelivery": "message_id", "AuditPause": "scope"}


def _look_at(name: str) -> migrations.CreateModel:
    view = f"audit_{name.removeprefix('Audit').lower()}"
    options = {"managed": False, "db_table": table(view), "default_permissions": ("view",)}
    options["verbose_name"], plural = _CALLED[name]
    if plural:
        options["verbose_name_plural"] = plural
    if name in _PERMISSIONS:
        options["permissions"] = _PERMISSIONS[name]
    return migrations.CreateModel(name, [(_KEYS.get(name, "id"), models.TextField(primary_key=True))], options)


class Migration(migrations.Migration):
    """Not atomic: the relay's own transaction is committed before Django notes it."""

    initial = True
    atomic = False
    operations = (ToRevision("0008"), *(_look_at(name) for name in _CALLED))

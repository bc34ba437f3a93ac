"""Models over the audit views: what an auditor may read, personal data masked. They read and never write.

Unmanaged: the tables come by the relay's revisions (``revisions.py``). What a person may do to messages are functions
that leave a row in the ledger; so saving and deleting are refused here, and not only by the database.

Filter by what has an index (``docs/audit.md``): id, ordering key, dedupe key with its account, request id. Nothing here
should be counted or sorted as a whole, for finished rows stay.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

from relay.integrations.django.places import table


class ReadOnlyQuerySet(models.QuerySet):
    """What does not write."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"{self.model.__name__} is read only: use relay.integrations.django.add, or relay retry, discard, pause"
        )

    create = bulk_create = bulk_update = update = delete = get_or_create = update_or_create = _refuse
    acreate = abulk_create = abulk_update = aupdate = adelete = aget_or_create = aupdate_or_create = _refuse


class ReadOnly(models.Model):
    """A row of a view."""

    objects = ReadOnlyQuerySet.as_manager()

    class Meta:
        abstract = True

    def save(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read only")

    delete = save


class AsText(models.TextField):
    """A json column as the text it is."""

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        return f"cast({sql} as text)", params


class Ids(models.Field):
    """An array, as the list that the driver makes of it. Django's own wants one more application in INSTALLED_APPS."""

    def db_type(self, connection: Any) -> str:
        return "bigint[]"


def _text(**more: Any) -> models.TextField:
    return models.TextField(null=True, **more)


def _moment() -> models.DateTimeField:
    return models.DateTimeField(null=True)


class AuditMessage(ReadOnly):
    """A message as ``audit_message`` shows it; ``request_id`` is the platform's, of the call that ended it."""

    id = models.BigIntegerField(primary_key=True)
    topic = models.TextField()
    account = models.TextField()
    ordering_key = _text()
    dedupe_key = _text()
    producer = _text()
    status = models.TextField()
    held = models.BooleanField()
    attempts = models.IntegerField()
    error_code = _text()
    error_message = _text()
    created_at = models.DateTimeField()
    created_by = models.TextField()
    available_at = _moment()
    deliver_before = _moment()
    finished_at = _moment()
    latency_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)
    call_id = models.BigIntegerField(null=True)
    result_index = models.SmallIntegerField(null=True)
    request_id = _text()
    content = AsText()
    content_characters = models.IntegerField()
    content_sha256 = _text()
    traceparent = _text()

    class Meta:
        managed = False
        db_table = table("audit_message")
        verbose_name = "message"
        default_permissions = ("view",)
        permissions = (
            ("retry_message", "Can send messages again"),
            ("discard_message", "Can discard messages"),
            ("pause_account", "Can pause accounts"),
        )

    def __str__(self) -> str:
        return f"message {self.pk}"


class AuditDelivery(ReadOnly):
    """What one call meant for one message; ``outcome``: done, retry, failed, unknown."""

    pk = models.CompositePrimaryKey("message_id", "call_id")
    message_id = models.BigIntegerField()
    call_id = models.BigIntegerField()
    result_index = models.SmallIntegerField()
    outcome = models.TextField()
    error_code = _text()
    error_message = _text()
    at = models.DateTimeField()
    retry_at = _moment()
    account = models.TextField()
    worker = models.TextField()
    sent_at = _moment()
    duration_ms = models.IntegerField(null=True)
    http_status = models.SmallIntegerField(null=True)
    request_id = _text()
    call_outcome = _text()
    call_error_code = _text()
    call_sub_code = _text()
    parent_id = models.BigIntegerField(null=True)

    class Meta:
        managed = False
        db_table = table("audit_delivery")
        verbose_name = "delivery"
        default_permissions = ("view",)
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"message {self.message_id} in call {self.call_id}"


class AuditCall(ReadOnly):
    """A request to the platform, written down before it was made; ``outcome`` None while it is open."""

    id = models.BigIntegerField(primary_key=True)
    account = models.TextField()
    worker = models.TextField()
    messages = models.IntegerField()
    message_ids = Ids()
    parent_id = models.BigIntegerField(null=True)
    claimed_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    sent_at = _moment()
    settled_at = _moment()
    outcome = _text()
    http_status = models.SmallIntegerField(null=True)
    request_id = _text()
    error_code = _text()
    sub_code = _text()
    error_message = _text()
    request_bytes = models.IntegerField(null=True)
    duration_ms = models.IntegerField(null=True)
    created_by = _text()

    class Meta:
        managed = False
        db_table = table("audit_call")
        verbose_name = "call"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"call {self.pk}"


_Manager: Any = models.Manager.from_queryset(ReadOnlyQuerySet)


class PausesThereAre(_Manager):
    """Without those that have ended, of which an account may have had many."""

    def get_queryset(self) -> Any:
        return super().get_queryset().filter(ended_at__isnull=True)


class AuditPause(ReadOnly):
    """A pause that is there; those that have ended are in the view alone. ``until`` None: until somebody resumes it."""

    scope = models.TextField(primary_key=True)
    since = models.DateTimeField()
    until = _moment()
    in_force = models.BooleanField()
    reason = models.TextField()
    error_code = _text()
    by = models.TextField()
    ended_at = _moment()

    objects = PausesThereAre()

    class Meta:
        managed = False
        db_table = table("audit_pause")
        verbose_name = "pause"
        default_permissions = ("view",)
        permissions = (("resume_account", "Can end pauses"),)

    def __str__(self) -> str:
        return str(self.scope)


class AuditAction(ReadOnly):
    """A row of the ledger: what a person did, and why."""

    id = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.TextField()
    db_user = models.TextField()
    action = models.TextField()
    reason = models.TextField()
    selection = AsText(null=True)
    message_ids = Ids(null=True)
    count = models.IntegerField()

    class Meta:
        managed = False
        db_table = table("audit_action")
        verbose_name = "action of a person"
        default_permissions = ("view",)
        verbose_name_plural = "ledger"

    def __str__(self) -> str:
        return f"{self.action} {self.pk}"


class AuditBacklog(ReadOnly):
    """What is pending of an account."""

    account = models.TextField(primary_key=True)
    pending = models.BigIntegerField()
    due = models.BigIntegerField()
    waiting = models.BigIntegerField()
    held = models.BigIntegerField()
    oldest_due_seconds = models.DecimalField(max_digits=20, decimal_places=3, null=True)
    oldest_seconds = models.DecimalField(max_digits=20, decimal_places=3)

    class Meta:
        managed = False
        db_table = table("audit_backlog")
        verbose_name = "backlog"
        default_permissions = ("view",)
        verbose_name_plural = "backlog"

    def __str__(self) -> str:
        return str(self.account)

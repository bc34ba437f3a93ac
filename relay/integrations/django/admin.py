"""The admin: messages, calls, pauses and the ledger, to look at; what may be done to them are actions with a reason.

Nothing is added, changed or deleted by a form, under any login. An action shows first what it would do to the
messages selected, and then does it to exactly these, for a person who has its permission.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models, router
from django.template.response import TemplateResponse
from django.utils.html import format_html, format_html_join

from relay.errors import RelayError
from relay.integrations.django import acting
from relay.integrations.django.listing import CALLS, MESSAGES, NewestFirst, Places, exactly, is_id, state_of
from relay.integrations.django.models import (
    AuditAction,
    AuditBacklog,
    AuditCall,
    AuditDelivery,
    AuditMessage,
    AuditPause,
)
from relay.showing import escaped

_DELIVERED = ("call_id", "result_index", "outcome", "error_code", "error_message", "at", "request_id")
_MOST_SKIPPED = 20


class Reason(forms.Form):
    """Why; the ledger keeps it."""

    reason = forms.CharField(max_length=2000, widget=forms.Textarea(attrs={"rows": 3, "cols": 80}))


class ReasonAndTime(Reason):
    """And for how long, in minutes."""

    minutes = forms.IntegerField(
        min_value=1, max_value=525_600, required=False, help_text="How long; nothing: until somebody resumes it."
    )


class LookOnly(admin.ModelAdmin):
    """Rows to look at: no count, no form, no way to choose all that there are."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    actions_selection_counter = False  # it also offers to choose all that there are
    sortable_by = ()
    found_by_ids: Places | None = None

    def get_changelist(self, request: Any, **_: Any) -> type[NewestFirst]:
        return NewestFirst

    def columns(self) -> Iterable[str]:
        """What a page shows, and so has to be read."""
        return [name for name in self.list_display if name != "__str__"]

    def get_list_display(self, request: Any) -> list[Any]:
        """The columns of the list, texts of others such that everything in them is seen."""
        return [self._seen(name) for name in self.list_display]

    def get_fields(self, request: Any, obj: Any = None) -> list[Any]:
        """The same of the page of one row."""
        return [self._seen(name) for name in super().get_fields(request, obj)]

    def _seen(self, name: Any) -> Any:
        field = next((field for field in self.opts.fields if field.name == name), None)
        return _text(name, str(field.verbose_name)) if isinstance(field, models.CharField | models.TextField) else name

    def has_add_permission(self, request: Any, *_: Any) -> bool:
        return False

    has_change_permission = has_delete_permission = has_add_permission

    has_change_permission = has_delete_permission = has_add_permission

    def _ask(self, request: Any, verb: str, form: forms.Form, rows: Iterable[tuple[object, str | None]]) -> Any:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{verb.capitalize()}: what would be done",
            "verb": verb,
            "form": form,
            "rows": [(escaped(str(what)), why) for what, why in rows],
            "name": ACTION_CHECKBOX_NAME,
            "action": request.POST.get("action"),
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
        }
        return TemplateResponse(request, "admin/relay/act.html", context)

    def _order(self, request: Any, form: forms.Form) -> acting.Wish:
        return acting.Wish(request.user.get_username(), form.cleaned_data["reason"])

    def _refuse(self, request: Any, error: RelayError) -> None:
        self.message_user(request, f"{error} {error.hint}", messages.ERROR)


@cache
def _text(name: str, title: str) -> Any:
    """A column of texts of others. Always the same one: Django tells by that whether a field is left out of a form."""

    @admin.display(description=title)
    def text(row: Any) -> str | None:
        value = getattr(row, name)
        return None if value is None else escaped(str(value), keep="\n")

    text.__name__ = name
    return text


def _given(request: Any, kind: type[forms.Form]) -> forms.Form:
    """The form of an action: filled in when it was sent."""
    return kind(request.POST if "apply" in request.POST else None)


def _numbers(request: Any) -> list[int]:
    """The ids selected, each of them one that a row can have."""
    return [int(one) for one in request.POST.getlist(ACTION_CHECKBOX_NAME) if is_id(one)]


@admin.register(AuditMessage)
class MessageAdmin(LookOnly):
    """Messages: retry, discard, pause their accounts."""

    found_by_ids = MESSAGES
    list_display = ("id", "status", "topic", "account", "ordering_key", "attempts", "error_code", "created_at")
    list_filter = (
        state_of("pending", "held", "failed", "done"),
        *(exactly(name) for name in (*MESSAGES.exact, "request_id")),
    )
    fields = (*(field.name for field in AuditMessage._meta.fields), "deliveries")
    readonly_fields = ("deliveries",)
    actions = ("retry", "discard", "pause")

    def has_retry_permission(self, request: Any) -> bool:
        """Whether this user may; each is a permission of its own."""
        return bool(request.user.has_perm("relay.retry_message"))

    def has_discard_permission(self, request: Any) -> bool:
        """Whether this user may; each is a permission of its own."""
        return bool(request.user.has_perm("relay.discard_message"))

    def has_pause_permission(self, request: Any) -> bool:
        """Whether this user may; each is a permission of its own."""
        return bool(request.user.has_perm("relay.pause_account"))

    @admin.action(permissions=["retry"], description="Send again (retry)")
    def retry(self, request: Any, queryset: Any) -> Any:
        """Make failed and held messages due."""
        return self._act(request, "retry")

    @admin.action(permissions=["discard"], description="Discard")
    def discard(self, request: Any, queryset: Any) -> Any:
        """Close messages that shall not be sent."""
        return self._act(request, "discard")

    @admin.action(permissions=["pause"], description="Pause their accounts")
    def pause(self, request: Any, queryset: Any) -> Any:
        """Of each account that a selected message has."""
        form, using = _given(request, ReasonAndTime), router.db_for_write(AuditMessage)
        chosen = AuditMessage.objects.filter(pk__in=_numbers(request))  # never all that there are
        accounts = sorted(set(chosen.values_list("account", flat=True)))
        if not form.is_valid():
            return self._ask(request, "pause", form, [(f"account {name}", None) for name in accounts])
        order = self._order(request, form)
        try:
            for name in accounts:
                row = acting.pause(using, name, order, minutes=form.cleaned_data["minutes"])
                told = f"The account {escaped(name)} is paused; row {row} of the ledger."
                self.message_user(request, told, messages.SUCCESS)
        except RelayError as error:
            self._refuse(request, error)
        return None

    def _act(self, request: Any, verb: str) -> Any:
        form, using = _given(request, Reason), router.db_for_write(AuditMessage)
        ids = _numbers(request)
        try:
            if not form.is_valid():
                return self._ask(request, verb, form, acting.why_not(using, verb, ids).items())
            done = acting.act(using, verb, ids, self._order(request, form))
        except RelayError as error:
            return self._refuse(request, error)
        if done.ids:
            number = f"{len(done.ids)} message{'s' if len(done.ids) > 1 else ''}"
            self.message_user(request, f"{verb}: {number}; row {done.action} of the ledger.", messages.SUCCESS)
        for id_, why in list(done.left_alone.items())[:_MOST_SKIPPED]:
            self.message_user(request, f"Message {id_} is left alone: {why}.", messages.WARNING)
        return None

    @admin.display(description="What its calls meant for it")
    def deliveries(self, message: AuditMessage) -> Any:
        """A table of its calls, the first one first."""
        found = AuditDelivery.objects.filter(message_id=message.pk).order_by("at").values_list(*_DELIVERED)
        head = format_html_join("", "<th>{}</th>", ((name.replace("_", " "),) for name in _DELIVERED))
        rows = format_html_join(
            "",
            "<tr>{}</tr>",
            ((format_html_join("", "<td>{}</td>", (("" if v is None else v,) for v in row)),) for row in found),
        )
        return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, rows)


@admin.register(AuditCall)
class CallAdmin(LookOnly):
    """Requests to the platform, nothing to be done to them."""

    found_by_ids = CALLS
    list_display = ("id", "account", "worker", "messages", "claimed_at", "outcome", "http_status", "request_id")
    list_filter = (state_of("open"), *(exactly(name) for name in CALLS.exact))


@admin.register(AuditPause)
class PauseAdmin(LookOnly):
    """Accounts and app keys of which nothing is claimed: resume."""

    list_display = ("scope", "in_force", "since", "until", "by", "reason", "error_code")
    ordering = ("-since",)
    actions = ("resume",)

    def has_resume_permission(self, request: Any) -> bool:
        """Whether this user may; each is a permission of its own."""
        return bool(request.user.has_perm("relay.resume_account"))

    @admin.action(permissions=["resume"], description="Resume")
    def resume(self, request: Any, queryset: Any) -> Any:
        """End the selected pauses, of persons or of workers."""
        form, using = _given(request, Reason), router.db_for_write(AuditPause)
        scopes = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not form.is_valid():
            return self._ask(request, "resume", form, [(scope, None) for scope in scopes])
        order = self._order(request, form)
        try:
            for scope in scopes:
                row = acting.resume(using, scope, order)
                what = escaped(scope)
                told = f"{what} is resumed; row {row} of the ledger." if row else f"{what} was not paused."
                self.message_user(request, told, messages.SUCCESS if row else messages.WARNING)
        except RelayError as error:
            self._refuse(request, error)
        return None


@admin.register(AuditAction)
class ActionAdmin(LookOnly):
    """The ledger."""

    list_display = ("id", "at", "actor", "db_user", "action", "reason", "count")
    ordering = ("-id",)


@admin.register(AuditBacklog)
class BacklogAdmin(LookOnly):
    """What is pending, a row an account."""

    list_display = ("account", "pending", "due", "waiting", "held", "oldest_due_seconds")
    ordering = ("account",)

"""The admin: messages, calls, pauses and the ledger, to look at; what may be done to them are actions with a reason.

Nothing is added, changed or deleted by a form, under any login. An action shows first what it would do to the
messages selected, and then does it to exactly these, as they were then, for a person who has its permission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

    def _ask(
        self,
        request: Any,
        verb: str,
        form: forms.Form,
        rows: Iterable[tuple[object, str | None]],
        seen: Mapping[Any, object],
    ) -> Any:
        """``seen``: what would be changed → by what it is known again; it comes back with the form."""
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
            "seen": [f"{mark} {what}" for what, mark in seen.items()],
        }
        return TemplateResponse(request, "admin/relay/act.html", context)

    def _order(self, request: Any, form: forms.Form) -> acting.Wish:
        return acting.Wish(request.user.get_username(), form.cleaned_data["reason"])

    def _left_alone(self, request: Any, what: str, why: str) -> None:
        self.message_user(request, f"{what} is left alone: {why}.", messages.WARNING)

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


def _seen(request: Any) -> dict[str, str]:
    """What the page had shown as about to be changed → by what it is known again."""
    return {what: mark for mark, _, what in (one.partition(" ") for one in request.POST.getlist("seen"))}


def _numbers(request: Any) -> list[int]:
    """The ids selected, each of them one that a row can have."""
    return [int(one) for one in request.POST.getlist(ACTION_CHECKBOX_NAME) if is_id(one)]


def _ordered_by(pause: acting.Standing | None) -> str:
    return "" if pause is None else f" (by {pause.by}: {pause.reason})"


def _instead_of(pause: acting.Standing | None) -> str:
    return "" if pause is None else f" (in the place of a pause by {pause.by}: {pause.reason})"


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
        try:
            if not form.is_valid():
                standing = acting.pauses(using, [f"account:{name}" for name in accounts])
                there = {name: standing.get(f"account:{name}") for name in accounts}
                rows = [(f"account {name}{_instead_of(found)}", None) for name, found in there.items()]
                marks = {name: found.since if found else acting.NO_PAUSE for name, found in there.items()}
                return self._ask(request, "pause", form, rows, marks)
            order, seen = self._order(request, form), _seen(request)
            for name in accounts:
                minutes, scope = form.cleaned_data["minutes"], f"account:{name}"
                row = name in seen and acting.pause(using, scope, order, minutes=minutes, seen=seen[name])
                if row:
                    told = f"The account {escaped(name)} is paused; row {row} of the ledger."
                    self.message_user(request, told, messages.SUCCESS)
                else:
                    self._left_alone(request, f"The account {escaped(name)}", acting.CHANGED)
        except RelayError as error:
            self._refuse(request, error)
        return None

    def _act(self, request: Any, verb: str) -> Any:
        form, using = _given(request, Reason), router.db_for_write(AuditMessage)
        ids = _numbers(request)
        try:
            if not form.is_valid():
                looked = acting.look(using, verb, ids)
                marks = {id_: one.version for id_, one in looked.items() if one.why_not is None}
                return self._ask(request, verb, form, [(id_, one.why_not) for id_, one in looked.items()], marks)
            seen = {int(id_): int(mark) for id_, mark in _seen(request).items() if is_id(id_) and is_id(mark)}
            done = acting.act(using, verb, {id_: seen[id_] for id_ in ids if id_ in seen}, self._order(request, form))
            others = acting.look(using, verb, [id_ for id_ in ids if id_ not in seen])
        except RelayError as error:
            return self._refuse(request, error)
        if done.action is not None:
            number = f"{len(done.ids)} message{'' if len(done.ids) == 1 else 's'}"
            level = messages.SUCCESS if done.ids else messages.WARNING
            self.message_user(request, f"{verb}: {number}; row {done.action} of the ledger.", level)
        left_alone = {id_: one.why_not or acting.CHANGED for id_, one in others.items()} | done.left_alone
        for id_, why in sorted(left_alone.items())[:_MOST_SKIPPED]:
            self._left_alone(request, f"Message {id_}", why)
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
        try:
            if not form.is_valid():
                there = acting.pauses(using, scopes)
                rows = [
                    (f"{scope}{_ordered_by(there.get(scope))}", None if scope in there else "it is not paused")
                    for scope in scopes
                ]
                return self._ask(request, "resume", form, rows, {scope: one.since for scope, one in there.items()})
            order, seen = self._order(request, form), _seen(request)
            for scope in scopes:
                row = scope in seen and acting.resume(using, scope, order, seen=seen[scope])
                if row:
                    told = f"{escaped(scope)} is resumed; row {row} of the ledger."
                    self.message_user(request, told, messages.SUCCESS)
                else:
                    paused = acting.pauses(using, [scope])
                    self._left_alone(request, escaped(scope), acting.CHANGED if paused else "it is not paused")
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

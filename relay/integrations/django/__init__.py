"""Django: messages in the transaction of ``atomic()``, tables by ``migrate``, an admin, and ``manage.py relay``.

    INSTALLED_APPS += ["relay.integrations.django"]

    adding        add, add_many: the connection of ``using``, inside atomic() only
    places        the schema, and a database of DATABASES as a URL that the relay takes
    revisions     what Django's migrations call; migrations/ has one for each revision that was a newest one
    models        unmanaged, over the audit views; they read and never write
    listing       pages of what never ends: the newest first, nothing counted
    acting        the operators' functions, in the name of Django's user
    admin         models + listing + acting
    management/   ``relay``, every verb of the command; ``flush``, which also empties the outbox of a test database

Settings of Django: RELAY_SCHEMA, ``"relay"`` unless said otherwise. Which database has the tables is for routers to
say.
"""

from relay.errors import needs

with needs("django", "relay.integrations.django"):
    from relay.integrations.django.adding import add, add_many
    from relay.integrations.django.places import database_url

__all__ = ["add", "add_many", "database_url"]

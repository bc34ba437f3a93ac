import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

site = get_wsgi_application()

from shop.dashboard import beside  # noqa: E402  Django has to be set up before

application = beside(site)

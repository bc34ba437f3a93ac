from django.contrib import admin
from django.urls import path
from orders import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("orders/<int:tid>/pack", views.pack),
    path("orders/<int:tid>/weigh", views.weigh),
]

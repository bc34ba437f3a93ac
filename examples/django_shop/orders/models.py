from django.db import models


class Order(models.Model):
    tid = models.BigIntegerField(primary_key=True)
    seller = models.CharField(max_length=100)
    status = models.CharField(max_length=20, default="X_PLACED")

    def __str__(self) -> str:
        return f"order {self.tid}"

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("tid", models.BigIntegerField(primary_key=True, serialize=False)),
                ("seller", models.CharField(max_length=100)),
                ("status", models.CharField(default="X_PLACED", max_length=20)),
            ],
        ),
    ]

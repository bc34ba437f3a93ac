"""An insert wakes a relay that sleeps."""

from alembic import op

from relay.revisions import apply, r0003
from relay.settings import schema_name

revision = r0003.REVISION
down_revision = r0003.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0003.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0003.DOWNGRADE, schema_name())

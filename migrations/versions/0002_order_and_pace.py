"""Order of messages that are still being written, a pace for the fleet, blocked keys."""

from alembic import op

from relay.revisions import apply, r0002
from relay.settings import schema_name

revision = r0002.REVISION
down_revision = r0002.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0002.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0002.DOWNGRADE, schema_name())

"""Open calls by id."""

from alembic import op

from relay.revisions import apply, r0005
from relay.settings import schema_name

revision = r0005.REVISION
down_revision = r0005.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0005.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0005.DOWNGRADE, schema_name())

"""Evidence, masking, audit views, operators' functions."""

from alembic import op

from relay.revisions import apply, r0004
from relay.settings import schema_name

revision = r0004.REVISION
down_revision = r0004.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0004.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0004.DOWNGRADE, schema_name())

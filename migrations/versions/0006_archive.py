"""An archive for what finished, by the month."""

from alembic import op

from relay.revisions import apply, r0006
from relay.settings import schema_name

revision = r0006.REVISION
down_revision = r0006.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0006.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0006.DOWNGRADE, schema_name())

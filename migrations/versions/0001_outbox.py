"""The outbox, its calls and attempts, pauses, the operator ledger."""

from alembic import op

from relay.revisions import apply, r0001
from relay.settings import schema_name

revision = r0001.REVISION
down_revision = r0001.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0001.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0001.DOWNGRADE, schema_name())

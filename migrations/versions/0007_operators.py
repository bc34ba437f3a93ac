"""The rules of the operators' verbs, in one place."""

from alembic import op

from relay.revisions import apply, r0007
from relay.settings import schema_name

revision = r0007.REVISION
down_revision = r0007.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0007.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0007.DOWNGRADE, schema_name())

"""At home where users live: any owner, any setting, any state of the database."""

from alembic import op

from relay.revisions import apply, r0008
from relay.settings import schema_name

revision = r0008.REVISION
down_revision = r0008.DOWN_REVISION


def upgrade() -> None:
    apply(op, r0008.UPGRADE, schema_name())


def downgrade() -> None:
    apply(op, r0008.DOWNGRADE, schema_name())

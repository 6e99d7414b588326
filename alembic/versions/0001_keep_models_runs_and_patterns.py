"""Keep models, runs and patterns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_models()
    create_runs()
    create_patterns()
    create_run_models()
    create_stages()
    create_role_patterns()
    create_tensor_patterns()
    create_fits()
    create_metrics()
    create_signature_layouts()
    create_signatures()
    create_artifacts()


def downgrade() -> None:
    raise NotImplementedError("dna-zoo never goes back to an older schema.")


def create_models() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("repo", sa.Text(), nullable=True),
        sa.Column("revision", sa.Text(), nullable=True),
        sa.Column("tier", sa.Integer(), nullable=True),
        sa.Column("modality", sa.Text(), nullable=True),
        sa.Column("family", sa.Text(), nullable=True),
        sa.Column("architecture", sa.Text(), nullable=True),
        sa.Column("specialty", sa.Text(), nullable=True),
        sa.Column("objective", sa.Text(), nullable=True),
        sa.Column("is_distilled", sa.Boolean(), nullable=True),
        sa.Column("shares_layers", sa.Boolean(), nullable=True),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column("parents", sa.JSON(), nullable=False),
        sa.Column("num_weights", sa.BigInteger(), nullable=False),
        sa.Column("num_tensors", sa.Integer(), nullable=False),
        sa.CheckConstraint("num_weights >= 0 AND num_tensors >= 0", name=op.f("ck_models_counts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("digest", name=op.f("uq_models_digest")),
    )
    op.create_index(op.f("ix_models_key"), "models", ["key"])


def create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.CheckConstraint("(status = 'running') = (finished IS NULL)", name=op.f("ck_runs_finished_unless_running")),
        sa.CheckConstraint(
            "status IN ('running', 'done', 'failed', 'partial', 'interrupted')", name=op.f("ck_runs_status")
        ),
        sa.CheckConstraint("finished IS NOT NULL OR exit_code IS NULL", name=op.f("ck_runs_exit_code_when_finished")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("run", name=op.f("uq_runs_run")),
    )


def create_patterns() -> None:
    op.create_table(
        "patterns",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("pattern_key", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("pattern_class", sa.Text(), nullable=False),
        sa.Column("class_scores", sa.JSON(), nullable=False),
        sa.Column("class_margin", sa.Double(), nullable=True),
        sa.Column("special", sa.Text(), nullable=True),
        sa.Column("clusters", sa.JSON(), nullable=False),
        sa.Column("frequency_profile", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "class_margin IS NOT NULL OR special IS NOT NULL", name=op.f("ck_patterns_margin_or_special")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_patterns_model_id_models")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_patterns_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patterns")),
        sa.UniqueConstraint("pattern_key", name=op.f("uq_patterns_pattern_key")),
    )
    op.create_index(op.f("ix_patterns_model_id_confirmed_at"), "patterns", ["model_id", "confirmed_at"])
    op.create_index(op.f("ix_patterns_run_id"), "patterns", ["run_id"])


def create_run_models() -> None:
    op.create_table(
        "run_models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("pattern_key", sa.Text(), nullable=True),
        sa.CheckConstraint("status = 'failed' OR error IS NULL", name=op.f("ck_run_models_error_only_if_failed")),
        sa.CheckConstraint("status IN ('pending', 'done', 'failed')", name=op.f("ck_run_models_status")),
        sa.ForeignKeyConstraint(
            ["pattern_key"], ["patterns.pattern_key"], name=op.f("fk_run_models_pattern_key_patterns")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_models_run_id_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_models")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_run_models_run_id_key")),
    )
    op.create_index(op.f("ix_run_models_pattern_key"), "run_models", ["pattern_key"])


def create_stages() -> None:
    op.create_table(
        "stages",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_model_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("status IN ('done', 'failed')", name=op.f("ck_stages_status")),
        sa.CheckConstraint("seconds >= 0", name=op.f("ck_stages_seconds")),
        sa.ForeignKeyConstraint(
            ["run_model_id"], ["run_models.id"], name=op.f("fk_stages_run_model_id_run_models"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("run_model_id", "stage", name=op.f("uq_stages_run_model_id_stage")),
    )


def create_role_patterns() -> None:
    op.create_table(
        "role_patterns",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("tensors", sa.Integer(), nullable=False),
        sa.Column("weights", sa.BigInteger(), nullable=False),
        sa.Column("pattern_class", sa.Text(), nullable=True),
        sa.CheckConstraint("tensors >= 0 AND weights >= 0", name=op.f("ck_role_patterns_counts")),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_role_patterns_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", "position", name=op.f("pk_role_patterns")),
        sa.UniqueConstraint("pattern_id", "role", name=op.f("uq_role_patterns_pattern_id_role")),
    )


def create_tensor_patterns() -> None:
    op.create_table(
        "tensor_patterns",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=True),
        sa.Column("depth", sa.Double(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("cols", sa.BigInteger(), nullable=False),
        sa.Column("num_weights", sa.BigInteger(), nullable=False),
        sa.Column("pattern_class", sa.Text(), nullable=True),
        sa.Column("class_scores", sa.JSON(), nullable=False),
        sa.CheckConstraint("depth BETWEEN 0 AND 1", name=op.f("ck_tensor_patterns_depth")),
        sa.CheckConstraint("rows >= 0 AND cols >= 0 AND num_weights >= 0", name=op.f("ck_tensor_patterns_counts")),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_tensor_patterns_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", "position", name=op.f("pk_tensor_patterns")),
        sa.UniqueConstraint("pattern_id", "name", name=op.f("uq_tensor_patterns_pattern_id_name")),
    )


def create_fits() -> None:
    op.create_table(
        "fits",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Integer(), nullable=True),
        sa.Column("tensor", sa.Integer(), nullable=True),
        sa.Column("dna_type", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("order", sa.Text(), nullable=False),
        sa.Column("precision", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("null_model", sa.Text(), nullable=False),
        sa.Column("num_weights", sa.BigInteger(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("sampled_weights", sa.BigInteger(), nullable=True),
        sa.Column("num_nulls", sa.Integer(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("bits_per_weight", sa.Double(), nullable=True),
        sa.Column("order_bits_per_weight", sa.Double(), nullable=True),
        sa.Column("r2", sa.Double(), nullable=True),
        sa.Column("r2_low", sa.Double(), nullable=True),
        sa.Column("r2_high", sa.Double(), nullable=True),
        sa.Column("null_r2", sa.Double(), nullable=True),
        sa.Column("null_r2_std", sa.Double(), nullable=True),
        sa.Column("gain", sa.Double(), nullable=True),
        sa.Column("svd_r2", sa.Double(), nullable=True),
        sa.Column("svd_null_r2", sa.Double(), nullable=True),
        sa.Column("svd_gain", sa.Double(), nullable=True),
        sa.Column("ceiling_r2", sa.Double(), nullable=True),
        sa.Column("mse", sa.Double(), nullable=True),
        sa.Column("rmse", sa.Double(), nullable=True),
        sa.Column("mae", sa.Double(), nullable=True),
        sa.Column("smape", sa.Double(), nullable=True),
        sa.Column("psnr", sa.Double(), nullable=True),
        sa.Column("peak", sa.Double(), nullable=True),
        sa.Column("mean_mse", sa.Double(), nullable=True),
        sa.Column("mean_psnr", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("special", sa.Text(), nullable=True),
        sa.CheckConstraint("scope IN ('tensor', 'model')", name=op.f("ck_fits_scope")),
        sa.CheckConstraint("(position = 0) = (role IS NULL AND tensor IS NULL)", name=op.f("ck_fits_model_at_zero")),
        sa.CheckConstraint(
            "num_weights >= 0 AND parameters >= 0 AND num_nulls >= 0 AND steps >= 0", name=op.f("ck_fits_counts")
        ),
        sa.CheckConstraint("role IS NULL OR tensor IS NULL", name=op.f("ck_fits_one_owner")),
        sa.CheckConstraint(
            "special IS NOT NULL OR (bits_per_weight IS NOT NULL AND order_bits_per_weight IS NOT NULL"
            " AND r2 IS NOT NULL AND svd_r2 IS NOT NULL AND ceiling_r2 IS NOT NULL"
            " AND mse IS NOT NULL AND rmse IS NOT NULL AND mae IS NOT NULL AND smape IS NOT NULL AND psnr IS NOT NULL"
            " AND peak IS NOT NULL AND mean_mse IS NOT NULL AND mean_psnr IS NOT NULL AND seconds IS NOT NULL)",
            name=op.f("ck_fits_complete_or_special"),
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id", "role"],
            ["role_patterns.pattern_id", "role_patterns.position"],
            name=op.f("fk_fits_pattern_id_role_role_patterns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id", "tensor"],
            ["tensor_patterns.pattern_id", "tensor_patterns.position"],
            name=op.f("fk_fits_pattern_id_tensor_tensor_patterns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_fits_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", "position", name=op.f("pk_fits")),
        sa.UniqueConstraint("pattern_id", "role", name=op.f("uq_fits_pattern_id_role")),
        sa.UniqueConstraint("pattern_id", "tensor", name=op.f("uq_fits_pattern_id_tensor")),
    )


def create_metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.Integer(), nullable=True),
        sa.Column("tensor", sa.Integer(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("null_model", sa.Text(), nullable=True),
        sa.Column("num_nulls", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("null_mean", sa.Double(), nullable=True),
        sa.Column("null_std", sa.Double(), nullable=True),
        sa.Column("z", sa.Double(), nullable=True),
        sa.Column("p", sa.Double(), nullable=True),
        sa.Column("special", sa.Text(), nullable=True),
        sa.CheckConstraint("num_nulls >= 0", name=op.f("ck_metrics_num_nulls")),
        sa.CheckConstraint("p BETWEEN 0 AND 1", name=op.f("ck_metrics_p")),
        sa.CheckConstraint("role IS NULL OR tensor IS NULL", name=op.f("ck_metrics_one_owner")),
        sa.CheckConstraint("value IS NOT NULL OR special IS NOT NULL", name=op.f("ck_metrics_value_or_special")),
        sa.ForeignKeyConstraint(
            ["pattern_id", "role"],
            ["role_patterns.pattern_id", "role_patterns.position"],
            name=op.f("fk_metrics_pattern_id_role_role_patterns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id", "tensor"],
            ["tensor_patterns.pattern_id", "tensor_patterns.position"],
            name=op.f("fk_metrics_pattern_id_tensor_tensor_patterns"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_metrics_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", "position", name=op.f("pk_metrics")),
    )


def create_signature_layouts() -> None:
    op.create_table(
        "signature_layouts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.CheckConstraint("length >= 0", name=op.f("ck_signature_layouts_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signature_layouts")),
        sa.UniqueConstraint("digest", name=op.f("uq_signature_layouts_digest")),
    )


def create_signatures() -> None:
    op.create_table(
        "signatures",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("layout_id", sa.Integer(), nullable=False),
        sa.Column("packed_values", sa.LargeBinary(), nullable=False),
        sa.Column("packed_z", sa.LargeBinary(), nullable=True),
        sa.Column("packed_p", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("length(packed_p) = length(packed_values)", name=op.f("ck_signatures_p_length")),
        sa.CheckConstraint("length(packed_z) = length(packed_values)", name=op.f("ck_signatures_z_length")),
        sa.ForeignKeyConstraint(
            ["layout_id"], ["signature_layouts.id"], name=op.f("fk_signatures_layout_id_signature_layouts")
        ),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_signatures_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", name=op.f("pk_signatures")),
    )
    op.create_index(op.f("ix_signatures_layout_id"), "signatures", ["layout_id"])


def create_artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("pattern_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("num_bytes >= 0", name=op.f("ck_artifacts_num_bytes")),
        sa.ForeignKeyConstraint(
            ["pattern_id"], ["patterns.id"], name=op.f("fk_artifacts_pattern_id_patterns"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pattern_id", "position", name=op.f("pk_artifacts")),
    )

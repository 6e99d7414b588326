"""Which rule takes axes through which operation."""

from collections.abc import Mapping

from zoo.tracing.rules_joins import JOIN_RULES
from zoo.tracing.rules_lookups import LOOKUP_RULES
from zoo.tracing.rules_norms import NORM_RULES
from zoo.tracing.rules_pointwise import POINTWISE_RULES
from zoo.tracing.rules_products import PRODUCT_RULES
from zoo.tracing.rules_reductions import REDUCTION_RULES
from zoo.tracing.rules_views import VIEW_RULES
from zoo.tracing.trace import Rule

__all__ = ["RULES"]

RULES: Mapping[str, Rule] = {
    **VIEW_RULES,
    **JOIN_RULES,
    **LOOKUP_RULES,
    **POINTWISE_RULES,
    **PRODUCT_RULES,
    **NORM_RULES,
    **REDUCTION_RULES,
}
"""Operation -> how axes pass through it."""

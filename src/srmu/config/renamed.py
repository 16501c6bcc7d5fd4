"""Names that settings once had, so that the message about an old run file or command gives the new one."""

RENAMED = {
    "auto": "search",
    "average_last": "weight_averaging",
    "forget_rows": "forget_batch_size",
    "heldout": "eval_fraction",
    "modules": "target_modules",
    "retain_rows": "retain_batch_size",
    "roles": "target_roles",
    "row_tokens": "max_length",
    "self_rows": "num_self_written",
    "strength": "steering_coefficient",
    "strength_unit": "coefficient_unit",
    "token_share": "per_token_signs",
}
"""Old key -> new key; the flags are the same with dashes."""

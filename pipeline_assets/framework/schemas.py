"""The schema of quarantined rows, which a table asset writes to `{asset}_rejected`."""

import dataframely as dy


class Rejected(dy.Schema):
    """One input that a table asset kept aside, with its reason; the table `{asset}_rejected` holds them."""

    day = dy.Date()
    source = dy.String(description="where it came from: object key and line, or primary key")
    reason = dy.String(description="short machine name of the rule that it failed")
    detail = dy.String(description="a sentence for a person")
    raw = dy.String(nullable=True, description="the input, cut to 2,000 characters")

"""HTTP around the endpoint: limits, tokens, metrics, documents. No model and no store here."""

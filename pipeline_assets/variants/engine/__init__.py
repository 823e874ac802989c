"""Plans, makes, stores and verifies variants of every kind; the kinds themselves are pure."""

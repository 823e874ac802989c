"""What was asked of the endpoint and answered: its table, its replay offline, and its quality once labels are there."""

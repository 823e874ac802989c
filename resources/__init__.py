"""What Darkroom talks to: object stores, the lake, PostgreSQL, local disk, and the servers that come along."""

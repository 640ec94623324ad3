"""Do a piece of work once: claims with a lease and a fence, kept in a DynamoDB table."""

"""Send items of a DynamoDB table through its stream again: select them, touch each once, prove that they arrived."""

"""What happens to events that a Lambda function fails on: its settings for that, and how they are sent again."""

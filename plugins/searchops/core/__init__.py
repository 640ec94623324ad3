"""What the project knows: no module below imports Airflow, so that each can be deployed in a Lambda function."""

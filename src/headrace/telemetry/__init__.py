"""What this process and its machine are doing."""
